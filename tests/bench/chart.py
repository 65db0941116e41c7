"""The run as a picture: bars in SVG, written by hand, as nothing more is needed."""
from xml.sax.saxutils import escape

WIDTH, BAR, LABEL, VALUE = 760, 22, 250, 90
COLOURS = {"reveal": "#0b6e4f", "echo": "#8a8a8a"}
OTHERS = "#c9c9c9"

# Title, unit, then figure and label of each bar.
PANELS = [
    ("Server CPU per call at 64/4, everything on", "us", [
        ("nginx_server_cpu_us_64/4", "nginx, static file, HTTP/2"),
        ("echo_server_cpu_us_64/4_apart", "stock gRPC echo"),
        ("redis_get_cpu_us", "Redis GET, TLS"),
        ("reveal_server_cpu_us_64/4_apart", "reveal, audit line durable"),
        ("etcd_server_cpu_us_64/4", "etcd linearizable get")]),
    ("Calls a second at 64/4", "1/s", [
        ("echo_rate_64/4_apart", "stock gRPC echo"),
        ("reveal_rate_64/4_apart", "reveal, audit line durable"),
        ("etcd_rate_64/4", "etcd linearizable get")]),
    ("Middle time of one call alone (1/1)", "us", [
        ("echo_p50_us_1/1_apart", "stock gRPC echo"),
        ("fdatasync_us", "one fdatasync"),
        ("reveal_p50_us_1/1_apart", "reveal, audit line durable")]),
    ("What parts of a reveal cost, server CPU per call", "us", [
        ("without_nothing_cpu_us", "everything on"),
        ("without_line_cpu_us", "without the audit line"),
        ("without_opening_cpu_us", "without opening the secret"),
        ("without_decision_cpu_us", "without the decision"),
        ("without_wiping_cpu_us", "without wiping freed memory"),
        ("without_socket_cpu_us", "unix socket, no TLS"),
        ("without_line_opening_decision_wiping_cpu_us", "without any of these four"),
        ("without_echo_cpu_us", "stock gRPC echo")]),
]


def write(path, figures):
    """Panels of which nothing was measured are left out."""
    found = {figure.name: figure.samples for figure in figures if figure.samples}
    parts, at = [], 10
    for title, unit, bars in PANELS:
        bars = [(name, label) for name, label in bars if name in found]
        if bars:
            at = panel(parts, at, f"{title} ({unit})", bars, found)
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{at}" '
                    f'font-family="sans-serif" font-size="13">\n'
                    f'<rect width="{WIDTH}" height="{at}" fill="white"/>\n'
                    + "\n".join(parts) + "\n</svg>\n")


def panel(parts, at, title, bars, found):
    """Adds it below `at`; where the next one begins. A line across each bar's end is its spread."""
    parts.append(f'<text x="10" y="{at + 16}" font-weight="bold">{escape(title)}</text>')
    at += BAR + 4
    widest = max(found[name].median for name, _ in bars) or 1
    scale = (WIDTH - LABEL - VALUE) / widest
    for name, label in bars:
        samples = found[name]
        length = samples.median * scale
        low, high = (min(LABEL + value * scale, WIDTH - 5) for value in samples.spread)
        middle = at + BAR / 2 - 2
        colour = COLOURS.get(name.split("_")[0], OTHERS)
        parts += [f'<text x="10" y="{at + 14}">{escape(label)}</text>',
                  f'<rect x="{LABEL}" y="{at}" width="{length:.1f}" height="{BAR - 4}" '
                  f'fill="{colour}"/>',
                  f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="black" stroke-width="1"/>',
                  f'<text x="{LABEL + length + 6:.1f}" y="{at + 14}" font-weight="bold" '
                  f'stroke="white" stroke-width="3" paint-order="stroke">{samples.median:,.0f}'
                  '</text>']
        at += BAR
    return at + 14
