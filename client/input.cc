#include "client/input.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "crypto/descriptor.h"
#include "crypto/no_echo.h"

namespace oauthvault::client {
namespace {

/// Closes what it opened, and only that.
class Opened {
 public:
  explicit Opened(const std::string& file)
      : descriptor_(file == "-" ? STDIN_FILENO : ::open(file.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~Opened() {
    if (descriptor_ > STDIN_FILENO) ::close(descriptor_);
  }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;
  int Descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

void Prompt(std::string_view question) {
  const std::string prompt = std::string(question) + ": ";
  [[maybe_unused]] const auto shown = ::write(STDERR_FILENO, prompt.data(), prompt.size());
}

/// The cursor stands behind a question that was not answered.
void EndPrompt() { [[maybe_unused]] const auto shown = ::write(STDERR_FILENO, "\n", 1); }

std::string Named(const Wanted& wanted, const std::string& file) {
  const std::string from = file == "-" ? "standard input" : file;
  return "the " + std::string(wanted.what) + " in " + from + " (" + std::string(wanted.option) +
         ")";
}

/// Where else than at a terminal it may be given.
std::string Elsewhere(const Wanted& wanted) {
  return ": give it in a file or on standard input with " + std::string(wanted.option) +
         " FILE or -";
}

/// One line from the terminal, without its end.
Outcome<crypto::SecretBytes> Ask(const Wanted& wanted) {
  if (::isatty(STDIN_FILENO) == 0) {
    return Refuse(Code::kInvalid, "no " + std::string(wanted.what) + Elsewhere(wanted));
  }
  const crypto::NoEcho silent;
  Prompt(wanted.what);
  // The terminal hands over one line at a time, cut to 4,096 bytes with its end.
  crypto::SecretBytes line(kMaxSecretLineSize);
  bool ended = false;
  const ssize_t size = line.Fill([&](std::span<std::uint8_t> bytes) {
    const ssize_t got = ::read(STDIN_FILENO, bytes.data(), bytes.size());
    ended = got > 0 && bytes[static_cast<std::size_t>(got) - 1] == '\n';
    return got;
  });
  if (!ended) EndPrompt();
  line.Truncate(size > 0 ? static_cast<std::size_t>(size) : 0);
  if (!line.Empty() && (!ended || line.Size() == kMaxSecretLineSize)) {
    return Refuse(Code::kInvalid, "the " + std::string(wanted.what) +
                                      " is longer than a terminal takes, or was not ended by "
                                      "Enter" + Elsewhere(wanted));
  }
  return line;
}

/// Takes one line's end off.
void Chomp(crypto::SecretBytes& secret) {
  const std::size_t size = secret.Expose([](std::span<const std::uint8_t> bytes) {
    std::size_t end = bytes.size();
    if (end > 0 && bytes[end - 1] == '\n') --end;
    if (end > 0 && end < bytes.size() && bytes[end - 1] == '\r') --end;
    return end;
  });
  secret.Truncate(size);
}

bool IsPlainLine(const crypto::SecretBytes& secret) {
  return secret.Expose([](std::span<const std::uint8_t> bytes) {
    return IsUtf8(bytes) &&
           std::ranges::none_of(bytes, [](std::uint8_t byte) { return byte < 0x20; });
  });
}

}  // namespace

Outcome<crypto::SecretBytes> ReadBounded(const std::string& file, const Wanted& wanted) {
  const Opened opened(file);
  struct stat status {};
  if (opened.Descriptor() < 0 || ::fstat(opened.Descriptor(), &status) != 0) {
    return Refuse(Code::kInvalid, "cannot read " + Named(wanted, file) + ": " +
                                      std::strerror(errno));
  }
  if (S_ISDIR(status.st_mode)) {
    return Refuse(Code::kInvalid, Named(wanted, file) + " is a folder: give a file");
  }
  // One byte more than allowed, to see that there is more.
  crypto::SecretBytes bytes(wanted.limit_bytes + 1);
  const ssize_t got = bytes.Fill([&](std::span<std::uint8_t> room) {
    return crypto::ReadAll(opened.Descriptor(), room);
  });
  if (got < 0) {
    return Refuse(Code::kInvalid, "reading " + Named(wanted, file) + " failed: " +
                                      std::strerror(errno));
  }
  const auto size = static_cast<std::size_t>(got);
  if (size > wanted.limit_bytes) {
    return Refuse(Code::kInvalid, Named(wanted, file) + " has more than the " +
                                      std::to_string(wanted.limit_bytes) +
                                      " bytes that are allowed");
  }
  bytes.Truncate(size);
  return bytes;
}

Outcome<crypto::SecretBytes> ReadSecretLine(const std::string& file, const Wanted& wanted) {
  auto secret = file.empty() ? Ask(wanted) : ReadBounded(file, wanted);
  if (!secret) return secret;
  Chomp(*secret);
  const std::string named = Named(wanted, file.empty() ? "-" : file);
  if (secret->Empty()) return Refuse(Code::kInvalid, named + " is empty");
  if (!IsPlainLine(*secret)) {
    return Refuse(Code::kInvalid, named + " is not one line of text: it has several lines, control "
                                          "characters or is not UTF-8");
  }
  return secret;
}

struct SecretLines::Source {
  Source(const std::string& file, const Wanted& wanted_lines)
      : opened(file), wanted(wanted_lines), named(Named(wanted_lines, file)) {}

  Opened opened;
  Wanted wanted;
  std::string named;
  /// Set when a person is asked.
  std::optional<crypto::NoEcho> silent;
  /// What was read and not given out yet: `size` bytes. A line, its end, and one byte more.
  crypto::SecretBytes read{kMaxSecretLineSize + 3};
  std::size_t size = 0;
  bool ended = false;

  /// Reads what is there, at least a byte or the end; false when that failed.
  bool ReadMore() {
    ssize_t got = 0;
    do {
      got = read.Fill([&](std::span<std::uint8_t> room) {
        return ::read(opened.Descriptor(), room.data() + size, room.size() - size);
      });
    } while (got < 0 && errno == EINTR);
    if (got > 0) size += static_cast<std::size_t>(got);
    if (got <= 0) {
      ended = true;
      if (silent) EndPrompt();
    }
    return got >= 0;
  }

  /// Where the first line ends, its end included; 0 when that was not read yet.
  std::size_t LineEnd() const {
    return read.Expose([&](std::span<const std::uint8_t> bytes) {
      const auto known = bytes.first(size);
      const auto end = std::ranges::find(known, std::uint8_t{'\n'});
      return end == known.end() ? 0 : static_cast<std::size_t>(end - known.begin()) + 1;
    });
  }

  /// The first `length` bytes, which are then gone from here.
  crypto::SecretBytes Take(std::size_t length) {
    return read.Fill([&](std::span<std::uint8_t> bytes) {
      auto taken = crypto::SecretBytes::CopyOf(bytes.first(length));
      std::ranges::copy(bytes.subspan(length, size - length), bytes.begin());
      size -= length;
      crypto::Wipe(bytes.subspan(size));
      return taken;
    });
  }
};

SecretLines::SecretLines(std::unique_ptr<Source> source) : source_(std::move(source)) {}
SecretLines::SecretLines(SecretLines&&) noexcept = default;
SecretLines& SecretLines::operator=(SecretLines&&) noexcept = default;
SecretLines::~SecretLines() = default;

Outcome<SecretLines> SecretLines::Open(const std::string& file, const Wanted& wanted) {
  auto source = std::make_unique<Source>(file.empty() ? "-" : file, wanted);
  struct stat status {};
  if (source->opened.Descriptor() < 0 || ::fstat(source->opened.Descriptor(), &status) != 0) {
    return Refuse(Code::kInvalid, "cannot open " + source->named + ": " + std::strerror(errno));
  }
  if (S_ISDIR(status.st_mode)) {
    return Refuse(Code::kInvalid, source->named + " is a folder: give a file of lines");
  }
  if (source->opened.Descriptor() == STDIN_FILENO && ::isatty(STDIN_FILENO) == 1) {
    source->silent.emplace();
  }
  return SecretLines(std::move(source));
}

bool SecretLines::AtPrompt() const { return source_->silent.has_value(); }

Outcome<std::optional<crypto::SecretBytes>> SecretLines::Next(std::string_view question) {
  Source& from = *source_;
  bool asked = false;
  for (;;) {
    const std::size_t end = from.LineEnd();
    if (end > 0 || from.ended) {
      if (from.size == 0) return std::nullopt;
      crypto::SecretBytes line = from.Take(end > 0 ? end : from.size);
      Chomp(line);
      if (line.Empty()) {
        asked = false;
        continue;
      }
      if (line.Size() > from.wanted.limit_bytes) {
        return Refuse(Code::kInvalid, from.named + " has a line of more than the " +
                                          std::to_string(from.wanted.limit_bytes) +
                                          " bytes that are allowed");
      }
      if (!IsPlainLine(line)) {
        return Refuse(Code::kInvalid, from.named + " has a line with control characters, or one "
                                          "that is not UTF-8");
      }
      return line;
    }
    if (from.size == from.read.Size()) {
      // Where the line ends is not known, so nothing after it can be told apart.
      from.ended = true;
      from.Take(from.size);
      return Refuse(Code::kInvalid, from.named + " has a line without an end");
    }
    if (from.silent && !asked) Prompt(question);
    asked = true;
    if (!from.ReadMore()) {
      return Refuse(Code::kInvalid, from.named + " cannot be read on: " + std::strerror(errno));
    }
  }
}

Outcome<crypto::SecretBytes> ReadNewPassphrase(const std::string& file) {
  constexpr std::size_t kLineEndSize = 2;
  const Wanted wanted{"passphrase", "--passphrase-file", kMaxPassphraseSize + kLineEndSize};
  crypto::SecretBytes passphrase;
  if (!file.empty() || ::isatty(STDIN_FILENO) == 0) {
    auto read = ReadSecretLine(file, wanted);
    if (!read) return read;
    passphrase = *std::move(read);
  } else {
    auto typed = SecretLines::Open("-", wanted);
    if (!typed) return Refuse(std::move(typed));
    for (const std::string_view question : {"new passphrase", "the same once more"}) {
      auto line = typed->Next(question);
      if (!line) return Refuse(std::move(line));
      if (!*line) return Refuse(Code::kInvalid, "no passphrase was typed");
      if (!passphrase.Empty() && !passphrase.Equals(**line)) {
        return Refuse(Code::kInvalid, "the two passphrases differ: nothing was changed");
      }
      passphrase = std::move(**line);
    }
  }
  if (passphrase.Size() < kMinPassphraseSize || passphrase.Size() > kMaxPassphraseSize) {
    return Refuse(Code::kInvalid, "a passphrase has 12 to 1,024 bytes");
  }
  return passphrase;
}

Outcome<std::string> AskToType(std::string_view question, std::string_view option) {
  if (::isatty(STDIN_FILENO) == 0) {
    return Refuse(Code::kInvalid, "there is no terminal to ask at: give " + std::string(option));
  }
  Prompt(question);
  // The terminal hands over one line at a time.
  std::array<char, kMaxSecretLineSize> line{};
  const ssize_t size = ::read(STDIN_FILENO, line.data(), line.size());
  if (size <= 0) EndPrompt();
  std::string text(line.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

Outcome<crypto::SecretBytes> ReadData(const std::string& file) {
  const Wanted wanted{"data", "--data-file", kMaxDataSize};
  auto data = file.empty() ? Ask(wanted) : ReadBounded(file, wanted);
  if (!data) return data;
  if (file.empty()) Chomp(*data);
  const std::string named = Named(wanted, file.empty() ? "-" : file);
  if (data->Empty()) {
    return Refuse(Code::kInvalid, named + " is empty: it is the provider's answer");
  }
  if (!data->Expose([](std::span<const std::uint8_t> bytes) { return IsUtf8(bytes); })) {
    return Refuse(Code::kInvalid, named + " is not valid UTF-8: give the provider's answer as it "
                                          "came, as text");
  }
  return data;
}

bool IsUtf8(std::span<const std::uint8_t> bytes) {
  std::size_t i = 0;
  while (i < bytes.size()) {
    const std::uint8_t first = bytes[i];
    if (first < 0x80) {
      ++i;
      continue;
    }
    // RFC 3629 section 4: the second byte's range depends on the first.
    std::size_t more = 0;
    std::uint8_t low = 0x80;
    std::uint8_t high = 0xBF;
    if (first >= 0xC2 && first <= 0xDF) {
      more = 1;
    } else if (first >= 0xE0 && first <= 0xEF) {
      more = 2;
      if (first == 0xE0) low = 0xA0;
      if (first == 0xED) high = 0x9F;
    } else if (first >= 0xF0 && first <= 0xF4) {
      more = 3;
      if (first == 0xF0) low = 0x90;
      if (first == 0xF4) high = 0x8F;
    } else {
      return false;
    }
    if (bytes.size() - i <= more) return false;
    if (bytes[i + 1] < low || bytes[i + 1] > high) return false;
    for (std::size_t k = 2; k <= more; ++k) {
      if ((bytes[i + k] & 0xC0U) != 0x80U) return false;
    }
    i += more + 1;
  }
  return true;
}

Outcome<std::chrono::seconds> ParseDuration(std::string_view text, std::string_view option) {
  constexpr std::int64_t kMaxCount = 1'000'000'000;
  std::int64_t count = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  const std::string_view unit(rest, static_cast<std::size_t>(text.data() + text.size() - rest));
  std::int64_t seconds = 0;
  if (unit.empty() || unit == "s") seconds = 1;
  if (unit == "m") seconds = 60;
  if (unit == "h") seconds = 3600;
  if (unit == "d") seconds = 86'400;
  if (error != std::errc() || count <= 0 || count > kMaxCount || seconds == 0) {
    return Refuse(Code::kInvalid, std::string(option) + " is a number and s, m, h or d: 24h");
  }
  return std::chrono::seconds(count * seconds);
}

}  // namespace oauthvault::client
