#!/usr/bin/env python3
"""Rules of the house that a machine can check.

tidy.py RULE              checks the tree by one rule; exit 1 and `file:line: what` for each finding
tidy.py --list            the rules, one a line
tidy.py doors --update    writes tests/golden/doors.txt anew
tidy.py --self-test       shows each rule a small bad tree and a small good one
"""
import pathlib
import re
import sys
import tempfile

# ---- the rules' data -----------------------------------------------------------------------------

# `build` is made by the presets and ignored by git.
TOP_LEVEL = {"CMakeLists.txt", "CMakePresets.json", "README.md", "CHANGELOG.md", "SECURITY.md",
             "LICENSE", "proto", "daemon", "client", "crypto", "storage", "tests", "deploy",
             "build"}

# Who may include whom. The longest room that fits a file counts; a room may include itself.
MAY_INCLUDE = {
    "crypto": [],
    "storage": ["crypto"],
    "client": ["crypto/secret.h", "crypto/error.h", "crypto/descriptor.h", "crypto/no_echo.h"],
    "daemon": ["crypto", "storage", "daemon"],
    "daemon/access": ["crypto/error.h", "crypto/sabotage.h", "storage/names.h"],
    "daemon/audit": ["crypto", "storage", "daemon/access"],
    "daemon/registry": ["crypto", "storage", "daemon/access"],
    "daemon/rivery": ["crypto", "storage", "daemon/access", "daemon/audit", "daemon/registry",
                      "daemon/custody"],
    "daemon/upkeep": ["crypto", "storage", "daemon/access", "daemon/audit", "daemon/registry"],
    "daemon/custody": ["crypto", "storage", "daemon/access", "daemon/audit", "daemon/registry"],
    "daemon/metrics": [],
    "daemon/http": ["crypto", "storage", "daemon/access", "daemon/audit", "daemon/registry",
                    "daemon/custody", "daemon/metrics", "daemon/listen_address.h"],
}
ROOMS_OF_PROTO = ("daemon/rpc/", "client/", "tests/")
# `access` decides and does nothing else.
PURE_ROOM = "daemon/access/"
IO_HEADERS = re.compile(r"<(fstream|iostream|cstdio|filesystem|thread|mutex|chrono|ctime|random|"
                        r"fcntl\.h|unistd\.h|sys/.*|netinet/.*|arpa/.*|curl/.*|lmdb\.h|grpc.*|"
                        r"spdlog/.*|sodium\.h|openssl/.*)>")

ROOMS_WITH_README = ["client", "crypto", "storage", "daemon/access", "daemon/audit",
                     "daemon/custody", "daemon/http", "daemon/metrics", "daemon/registry",
                     "daemon/rivery", "daemon/rpc", "daemon/upkeep", "tests", "tests/fakes/rivery",
                     "tests/bench", "tests/faults", "tests/fuzz"]
README_LINES = 40

COLUMNS = 100
# Tables and generated text are as wide as they are.
WIDE_FILES = (".md", ".json", ".txt", ".jsonl", ".toml", "LICENSE", "deploy/quickstart",
              ".gitignore")
# Inputs for parsers, byte for byte.
CORPUS = "tests/fuzz/corpus/"
BANNED_WORDS = re.compile(r"\b(FIX" r"ME|X" r"XX|HA" r"CK)\b|GTEST_" r"SKIP|\bDISABLED" r"_\w")
BANNED_NAMES = re.compile(r"(?:^|[_.-])(utils?|common|managers?|helpers?|handlers?)(?:[_.-]|$)")

# Declarations whose name says all: file, name (regular expressions).
SELF_EVIDENT = [
    (r".*", r"operator"),  # the language says what it does
    (r"storage/names\.h", r"\w+Tag$"),  # one for each kind of id
    (r"storage/tables/rows\.h", r"(Names|Encode|Decode)$"),  # the same three in every row
    (r"client/session\.h", r"Add\w+Verbs?$"),  # one for each noun of the command line
]

CODE_FILES = (".h", ".cc", ".proto", ".py")
SCRIPTS = ("deploy/quickstart", "deploy/install-dependencies", "tests/run", "tests/fuzz/run",
           "tests/tidy/tidy.py")


class Tree:
    """Files of a source tree with their text."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.files = {}
        for path in sorted(self.root.rglob("*")):
            name = path.relative_to(self.root).as_posix()
            if path.is_file() and not name.startswith((".git/", "build/", ".ci/")):
                try:
                    self.files[name] = path.read_text(encoding="utf-8")
                except UnicodeDecodeError:
                    pass

    def code(self, *suffixes):
        return {name: text for name, text in self.files.items() if name.endswith(suffixes)}

    def top(self):
        return {path.name for path in self.root.iterdir()}


def lines(text):
    return list(enumerate(text.splitlines(), 1))


def without_comments(text):
    """The code with comments blanked out, lines kept. Literals stay."""
    pattern = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*|/\*.*?\*/', re.S)

    def blank(found):
        whole = found.group()
        return re.sub(r"[^\n]", " ", whole) if whole.startswith("/") else whole

    return pattern.sub(blank, text)


def line_of(text, at):
    return text.count("\n", 0, at) + 1


# ---- the rules -----------------------------------------------------------------------------------

def include_direction(tree):
    """includes go one way: crypto <- storage <- daemon's rooms; client takes four headers only"""
    for name, text in tree.code(".h", ".cc").items():
        rooms = [room for room in MAY_INCLUDE if name.startswith(room + "/")]
        room = max(rooms, key=len, default=None)
        if name.startswith("daemon/rpc/"):
            room = "daemon"
        for number, line in lines(text):
            found = re.match(r'#include "([^"]+)"', line)
            if not found:
                continue
            header = found.group(1)
            if header.endswith(".pb.h"):
                continue
            if not name.startswith("tests/") and header.startswith("tests/"):
                yield f"{name}:{number}: code includes a test's {header}"
            if room is None or header.startswith(room + "/"):
                continue
            allowed = MAY_INCLUDE[room]
            if not any(header == one or header.startswith(one + "/") for one in allowed):
                yield f"{name}:{number}: {room} must not include {header}"


def pure_access(tree):
    """daemon/access decides: no input, output, clock or thread"""
    for name, text in tree.code(".h", ".cc").items():
        if name.startswith(PURE_ROOM):
            for number, line in lines(text):
                if line.startswith("#include") and IO_HEADERS.search(line):
                    yield f"{name}:{number}: a pure room includes {line.split()[1]}"


def protobuf_rooms(tree):
    """only daemon/rpc, client and tests see a .pb.h"""
    for name, text in tree.code(".h", ".cc").items():
        if name.startswith(ROOMS_OF_PROTO):
            continue
        for number, line in lines(text):
            if re.match(r'#include .*\.pb\.h["\']', line):
                yield f"{name}:{number}: a generated header outside of {', '.join(ROOMS_OF_PROTO)}"


def error_literals(tree):
    """each literal text of an error stands once in the tree, so that grep finds the line"""
    seen = {}
    pattern = re.compile(r'\b(?:Fail|Error|Refuse)\(\s*Code::k\w+,\s*((?:"(?:\\.|[^"\\])*"\s*)+)'
                         r'(?=[,)])')
    for name, text in tree.code(".h", ".cc").items():
        if name.startswith("tests/"):
            continue
        code = without_comments(text)
        for found in pattern.finditer(code):
            literal = "".join(re.findall(r'"((?:\\.|[^"\\])*)"', found.group(1)))
            place = f"{name}:{line_of(code, found.start())}"
            if literal in seen:
                yield f"{place}: \"{literal}\" stands at {seen[literal]}, too"
            seen.setdefault(literal, place)


def documented_headers(tree):
    """what a header declares has ///: each type and function at namespace scope, and each public
    block of members (lines without an empty line between them share one)"""
    for name, text in tree.code(".h").items():
        if name.startswith("tests/"):
            continue
        yield from undocumented(name, text)


TYPE = re.compile(r"^\s*(?:template\s*<.*>\s*)?(?:class|struct|enum class|union)\s+(\w+)"
                  r"(?!.*;\s*$)")
FUNCTION = re.compile(r"^(\s*)(?:\[\[\w+\]\]\s*)?"
                      r"(?:(?:static|inline|constexpr|virtual|explicit|friend|template\s*<[^>]*>)"
                      r"\s+)*[\w:<>,*&\s\[\]]+?[\s*&](~?\w+|operator\S+)\(")


def undocumented(name, text):
    all_lines = text.splitlines()
    scopes = []  # (kind, public), one for each open brace
    documented = False  # this block began with ///, or an earlier line of it has one
    block_checked = False
    continues = False
    for number, line in enumerate(all_lines, 1):
        stripped = line.strip()
        bare = re.sub(r'"(?:\\.|[^"\\])*"', '""', re.sub(r"//.*", "", line))
        code = bare.strip()
        if not stripped:
            documented = False
            continue
        if stripped.startswith("///") or "///<" in line:
            documented = True
        if not code or code.startswith("#"):
            continue
        outer = not any(kind == "body" for kind, _ in scopes) and all(p for _, p in scopes)
        access = re.match(r"(public|private|protected):", code)
        if access and scopes:
            scopes[-1] = (scopes[-1][0], access.group(1) == "public")
            documented = False
            continue
        if outer and not continues:
            found = TYPE.match(bare) or FUNCTION.match(bare)
            what = found.group(found.lastindex) if found else None
            # A declaration ends at its first ; or {, perhaps some lines further down.
            rest = " ".join(all_lines[number - 1:number + 5])
            whole = re.match(r"[^;{]*(?:;|\{.*)?", rest).group() if what else ""
            trivial = what is None or not declares(name, code, whole, what, scopes)
            if not trivial and not documented:
                yield f"{name}:{number}: {what} has no ///"
        for char in re.sub(r"\{[^{}]*\}", "", code):
            if char == "{":
                kind = "body"
                if re.match(r"(?:inline\s+)?namespace\b", code):
                    kind = "namespace"
                elif re.search(r"\b(class|struct|union)\s+\w+", code) and ")" not in code:
                    kind = "type"
                elif re.match(r"extern\b", code):
                    kind = "namespace"
                scopes.append((kind, kind == "namespace" or bool(re.search(r"\bstruct\b", code))))
            elif char == "}" and scopes:
                scopes.pop()
        continues = not re.search(r"[;{}:]$|>$", code)


def declares(name, code, whole, what, scopes):
    """False for what needs no words: special members, accessors of one line, overrides."""
    if re.search(r"=\s*(delete|default)\s*;|\boverride\b", whole) or what.startswith("~"):
        return False
    if code.startswith(("return", "friend", "using")):
        return False
    if any(re.fullmatch(file, name) and re.match(names, what) for file, names in SELF_EVIDENT):
        return False
    if re.search(r"\)\s*(const)?\s*(noexcept)?\s*\{.*\}$", code):
        return False
    # A class's own constructor without arguments, its forward declaration, an accessor.
    if re.match(r"(class|struct) \w+;$", code) or re.search(r"\w\(\) const;$", code):
        return False
    constructor = re.match(r"(explicit )?" + re.escape(what) + r"\(", code)
    return not constructor and scopes != []


def readmes(tree):
    """each room says what it owns, in at most 40 lines"""
    for room in ROOMS_WITH_README:
        name = room + "/README.md"
        if name not in tree.files:
            yield f"{name}:1: the room has no README"
        elif len(tree.files[name].splitlines()) > README_LINES:
            yield f"{name}:{README_LINES + 1}: longer than {README_LINES} lines"


def banned_words(tree):
    """no marks of unfinished work, no test that is switched off"""
    for name, text in tree.code(*CODE_FILES, ".md", ".txt", ".toml", ".cmake").items():
        for number, line in lines(text):
            found = BANNED_WORDS.search(line)
            if found and not name.startswith("tests/tidy/"):
                yield f"{name}:{number}: {found.group()}"


def banned_names(tree):
    """no drawer for everything: a file's name is a noun of the matter"""
    for name in tree.files:
        for part in name.split("/"):
            if BANNED_NAMES.search(part):
                yield f"{name}:1: {part} names no thing"


def columns(tree):
    """no line is longer than 100 columns"""
    for name, text in tree.files.items():
        if name.endswith(WIDE_FILES) or name.startswith(CORPUS):
            continue
        for number, line in lines(text):
            if len(line) > COLUMNS and "://" not in line:
                yield f"{name}:{number}: {len(line)} columns"


def top_level(tree):
    """the top level holds what is agreed, and dot files"""
    for name in sorted(tree.top()):
        if name not in TOP_LEVEL and not name.startswith("."):
            yield f"{name}:1: does not belong to the top level"


def run_bits(tree):
    """what is started by its name can be"""
    scripts = [name for name in SCRIPTS if name in tree.files]
    scripts += [name for name, text in tree.files.items() if text.startswith("#!")]
    for name in sorted(set(scripts)):
        if not (tree.root / name).stat().st_mode & 0o111:
            yield f"{name}:1: has no run bit"


GOLDEN_DOORS = "tests/golden/doors.txt"


def counted_doors(tree):
    found = []
    for name, text in sorted(tree.code(".h", ".cc").items()):
        if name.startswith("tests/"):
            continue
        code = without_comments(text)
        for door in ("Expose", "Fill"):
            count = len(re.findall(r"(?:\.|->)" + door + r"\(", code))
            if count:
                found.append(f"{name} {door} {count}")
    return "".join(line + "\n" for line in found)


def doors(tree):
    """each use of a SecretBytes door stands in the golden file, so that review sees a new one"""
    golden = set(tree.files.get(GOLDEN_DOORS, "").splitlines())
    now = set(counted_doors(tree).splitlines())
    for line in sorted(now - golden):
        yield f"{line.split()[0]}:1: not in {GOLDEN_DOORS}: {line} (`tidy.py doors --update`)"
    for line in sorted(golden - now):
        yield f"{GOLDEN_DOORS}:1: no longer so: {line} (`tidy.py doors --update`)"


def quoted_example(tree):
    """the README quotes the example that the tests compile, to the letter"""
    quote = re.search(r"```cpp\n(.*?)```", tree.files.get("README.md", ""), re.DOTALL)
    if quote and quote.group(1) != tree.files.get("client/example.cc"):
        yield "README.md:1: the quoted program is not client/example.cc"


RULES = {rule.__name__: rule for rule in (
    include_direction, pure_access, protobuf_rooms, error_literals, documented_headers, readmes,
    banned_words, banned_names, columns, top_level, run_bits, doors, quoted_example)}

# ---- the self-test -------------------------------------------------------------------------------

# rule -> (a bad file, its text): the rule must find each; and a good tree, which all must pass.
BAD = {
    "include_direction": [("crypto/a.cc", '#include "storage/engine.h"\n'),
                          ("storage/a.cc", '#include "daemon/config.h"\n'),
                          ("client/a.cc", '#include "crypto/keyring.h"\n'),
                          ("daemon/audit/a.cc", '#include "daemon/custody/reveal.h"\n'),
                          ("daemon/main.cc", '#include "tests/fakes/x.h"\n')],
    "pure_access": [("daemon/access/a.cc", "#include <fstream>\n"),
                    ("daemon/access/a.cc", "#include <sys/stat.h>\n")],
    "protobuf_rooms": [("storage/a.cc", '#include "oauthvault/v1/audit.pb.h"\n'),
                       ("daemon/main.cc", '#include "oauthvault/v1/audit.grpc.pb.h"\n')],
    "error_literals": [("crypto/a.cc", 'Fail(Code::kInvalid, "a b");\nFail(Code::kDenied,\n "a "'
                                       ' "b", x);\n')],
    "documented_headers": [("crypto/a.h", "namespace x {\n\nclass A {\n};\n}\n"),
                           ("crypto/a.h", "namespace x {\nint Add(int a);\n}\n"),
                           ("crypto/a.h", "namespace x {\n/// A.\nclass A {\n public:\n"
                                          "  int Add(int a);\n};\n}\n"),
                           ("crypto/a.h", "namespace x {\n/// A.\nint A(int a);\n\n"
                                          "void B(int b);\n}\n")],
    "readmes": [("crypto/README.md", "x\n" * 41)],
    "banned_words": [("crypto/a.cc", "// FIX" "ME\n"), ("tests/a.cc", "  GTEST_" "SKIP();\n"),
                     ("tests/a.cc", "TEST(A, DISABLED" "_B) {}\n")],
    "banned_names": [("crypto/string_util.cc", ""), ("daemon/manager/a.cc", ""),
                     ("daemon/request_handler.h", "")],
    "columns": [("crypto/a.cc", "x" * 101)],
    "top_level": [("notes.txt", "")],
    "run_bits": [("deploy/quickstart", "#!/bin/sh\n")],
    "quoted_example": [("README.md", "```cpp\nint other();\n```\n")],
    "doors": [("crypto/a.cc", "key.Expose(f);\n"), (GOLDEN_DOORS, "crypto/gone.cc Fill 1\n")],
}
GOOD = {
    "README.md": "```cpp\nint main() {}\n```\n",
    "client/example.cc": "int main() {}\n",
    "crypto/error.h": "namespace x {\n\n/// A.\nclass A {\n public:\n  A() = default;\n  ~A();\n"
                      "  /// Adds.\n  int Add(int a);\n  int Size() const { return size_; }\n\n"
                      " private:\n  void Inner(int a);\n  int size_;\n};\n\n}  // namespace x\n",
    "storage/a.cc": '#include "crypto/error.h"\n#include "storage/engine.h"\n'
                    '// Fail(Code::kInvalid, "a")\nFail(Code::kInvalid, "a");\n',
    "client/a.cc": '#include "crypto/error.h"\n#include "oauthvault/v1/audit.pb.h"\n',
    "daemon/access/a.cc": "#include <string>\n",
    "tests/a_test.cc": '#include "daemon/config.h"\nFail(Code::kInvalid, "a");\n',
}


def self_test():
    failed = []

    def findings(rule, files):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                path = pathlib.Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            return list(RULES[rule](Tree(folder)))

    good = dict(GOOD, **{room + "/README.md": "x\n" for room in ROOMS_WITH_README})
    for rule in RULES:
        if rule not in BAD:
            failed.append(f"{rule} has no bad sample")
        for name, text in BAD.get(rule, []):
            if not findings(rule, dict(good, **{name: text})):
                failed.append(f"{rule} does not find what is wrong in {name}: {text!r}")
        for finding in findings(rule, good):
            failed.append(f"{rule} finds fault with a good tree: {finding}")
    return failed


def main(words):
    root = pathlib.Path(__file__).resolve().parents[2]
    if words == ["--list"]:
        print("\n".join(RULES))
        return 0
    if words == ["--self-test"]:
        findings = self_test()
    elif words == ["doors", "--update"]:
        (root / GOLDEN_DOORS).write_text(counted_doors(Tree(root)), encoding="utf-8")
        return 0
    elif len(words) == 1 and words[0] in RULES:
        findings = list(RULES[words[0]](Tree(root)))
        if findings:
            print(f"{words[0]}: {' '.join(RULES[words[0]].__doc__.split())}")
    else:
        print(__doc__, file=sys.stderr)
        return 1
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
