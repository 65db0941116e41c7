#include "daemon/custody/document.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>

namespace oauthvault::custody {

namespace {

/// What the end of a configuration without `authorization` grows by.
constexpr std::string_view kMissingAuthorization = R"(,"authorization":{})";

/// Where a value stands, as far as the four rules ask.
enum class Place : std::uint8_t { kRoot, kAuthorization, kOauthApi, kId, kOther };

enum class Kind : std::uint8_t { kNull, kString, kOtherScalar, kObject, kArray };

/// Takes the parser's events once: checks, notes what the four rules need, and writes the document
/// again without its white space. No tree is built, so that the document's values stand in `out`
/// alone. That text is never longer than what was read, but for kMissingAuthorization: an escape
/// is written in its shortest form and a number as it was spelled.
class Reader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  Reader(JsonText& out, Rules rules, Document& document)
      : out_(out), rules_(rules), document_(document) {}

  bool null() override {
    if (!Begin(Kind::kNull)) return false;
    // A reader that expects an object breaks on null (facts of the original's extension).
    return Scalar(place_ == Place::kAuthorization ? "{}" : "null");
  }

  bool boolean(bool value) override {
    if (!Begin(Kind::kOtherScalar)) return false;
    return Scalar(value ? "true" : "false");
  }

  bool number_integer(number_integer_t value) override {
    if (!Begin(Kind::kOtherScalar)) return false;
    // Zero comes as a signed number when it was spelled with a sign only.
    return Scalar(value == 0 ? "-0" : std::to_string(value));
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (!Begin(Kind::kOtherScalar)) return false;
    return Scalar(std::to_string(value));
  }

  bool number_float(number_float_t, const string_t& spelled) override {
    if (!Begin(Kind::kOtherScalar)) return false;
    // An integer comes here when 64 bits do not hold it.
    if (std::all_of(spelled.begin() + 1, spelled.end(), IsDigit)) return RefuseNumber();
    // The parser spells the point as the process's locale does.
    std::string number = spelled;
    for (char& c : number) {
      if (!IsDigit(c) && c != '-' && c != '+' && c != 'e' && c != 'E') c = '.';
    }
    return Scalar(number);
  }

  bool string(string_t& value) override {
    if (!Begin(Kind::kString)) return false;
    if (place_ == Place::kId) document_.id = OauthId::Parse(value);
    const std::size_t begin = out_.Size();
    out_.String(value);
    Note(begin);
    crypto::Wipe(value);  // the parser's own buffer
    return true;
  }

  bool binary(binary_t&) override { return RefuseShape(); }  // JSON text has none

  bool start_object(std::size_t) override {
    if (!Begin(Kind::kObject) || !Open(true)) return false;
    out_.Raw("{");
    if (place_ == Place::kOauthApi) document_.oauth_api.begin = out_.Size();
    return true;
  }

  bool key(string_t& name) override {
    Container& object = open_.back();
    EndCredentials();
    if (!object.keys.insert(name).second) {
      return Refuse("a key stands twice in one object of the document");
    }
    place_ = Place::kOther;
    hash_key_ = name.starts_with('#');
    Separate();
    if (object.place == Place::kRoot && name == "authorization") {
      place_ = Place::kAuthorization;
      has_authorization_ = true;
    } else if (object.place == Place::kAuthorization) {
      if (name != "oauth_api") return Refuse("authorization knows oauth_api only");
      place_ = Place::kOauthApi;
    } else if (object.place == Place::kOauthApi) {
      if (name == "id") {
        place_ = Place::kId;
      } else if (name == "credentials") {
        document_.credentials = Range{out_.Size(), 0};
      } else if (name != "version") {
        return Refuse("authorization.oauth_api knows id, version and credentials only");
      }
    }
    out_.String(name);
    out_.Raw(":");
    return true;
  }

  bool end_object() override {
    EndCredentials();
    if (open_.back().place == Place::kOauthApi) document_.oauth_api.end = out_.Size();
    if (open_.back().place == Place::kRoot && !has_authorization_) {
      out_.Raw(kMissingAuthorization.substr(open_.back().members == 0 ? 1 : 0));
    }
    out_.Raw("}");
    open_.pop_back();
    return true;
  }

  bool start_array(std::size_t) override {
    if (!Begin(Kind::kArray) || !Open(false)) return false;
    out_.Raw(place_ == Place::kAuthorization ? "{" : "[");
    return true;
  }

  bool end_array() override {
    out_.Raw(open_.back().place == Place::kAuthorization ? "}" : "]");
    open_.pop_back();
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& exception) override {
    // The exception's text quotes the document; its number does not.
    constexpr int kNumberOverflow = 406;
    if (exception.id == kNumberOverflow) return RefuseNumber();
    return Refuse("the document is not JSON in UTF-8, seen at byte",
                  Subject::Number(static_cast<std::int64_t>(position)));
  }

  /// Why the parser was stopped.
  Error TakeError() { return std::move(*error_); }

 private:
  /// An object or array that is not closed yet.
  struct Container {
    bool is_object;
    Place place;
    bool hash_key;  // stands under a `#` key: then so does what an array lists, not a member
    std::size_t members = 0;
    std::set<std::string> keys;
  };

  static bool IsDigit(char c) { return c >= '0' && c <= '9'; }

  bool Refuse(Text text, Subject subject = {}) {
    error_.emplace(Code::kInvalid, text, std::move(subject));
    return false;
  }

  bool RefuseShape() {
    if (rules_ == Rules::kAny) return Refuse("a document to seal is a JSON object or array");
    return Refuse("a configuration is one JSON object");
  }

  bool RefuseNumber() {
    return Refuse("the document holds a number beyond 64 bits, or beyond a double");
  }

  bool RefusePlace(Place place) {
    if (place == Place::kAuthorization) return Refuse("authorization is no object");
    return Refuse("authorization.oauth_api is no object");
  }

  bool Scalar(std::string_view text) {
    const std::size_t begin = out_.Size();
    out_.Raw(text);
    Note(begin);
    return true;
  }

  void Note(std::size_t begin) {
    if (hash_key_) document_.hash_values.push_back({begin, out_.Size()});
  }

  /// Where the member `credentials` of `oauth_api` ends: before what follows it there.
  void EndCredentials() {
    if (open_.back().place == Place::kOauthApi && document_.credentials &&
        document_.credentials->end == 0) {
      document_.credentials->end = out_.Size();
    }
  }

  void Separate() {
    if (open_.back().members++ > 0) out_.Raw(",");
  }

  /// Before each value: finds its place (`key` did that for a member) and checks what may stand
  /// there.
  bool Begin(Kind kind) {
    if (open_.empty()) {
      hash_key_ = false;
      if (rules_ == Rules::kAny) {
        place_ = Place::kOther;
        return kind == Kind::kObject || kind == Kind::kArray || RefuseShape();
      }
      place_ = Place::kRoot;
      return kind == Kind::kObject || RefuseShape();
    }
    const Container& container = open_.back();
    if (!container.is_object) {
      // An empty array is how some writers spell an empty object; anything listed in it is not.
      if (container.place != Place::kOther) return RefusePlace(container.place);
      place_ = Place::kOther;
      hash_key_ = container.hash_key;
      Separate();
    }
    if (place_ == Place::kAuthorization || place_ == Place::kOauthApi) {
      return (kind != Kind::kString && kind != Kind::kOtherScalar) || RefusePlace(place_);
    }
    // Not refused here: credentials may follow, and then the id is ignored.
    if (place_ == Place::kId) {
      document_.id = Fail(Code::kInvalid, "authorization.oauth_api.id is no string");
      if (kind == Kind::kObject || kind == Kind::kArray) place_ = Place::kOther;
    }
    return true;
  }

  bool Open(bool is_object) {
    if (open_.size() == kMaxDocumentDepth) {
      return Refuse("a document is nested at most this deep",
                    Subject::Number(kMaxDocumentDepth));
    }
    open_.push_back({is_object, place_, hash_key_, 0, {}});
    return true;
  }

  JsonText& out_;
  const Rules rules_;
  Document& document_;
  std::vector<Container> open_;
  Place place_ = Place::kRoot;  // of the value that comes, or came last
  bool hash_key_ = false;       // whether it stands under a `#` key
  bool has_authorization_ = false;
  std::optional<Error> error_;
};

}  // namespace

std::string_view AsText(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Result<Document> Document::Parse(const crypto::SecretBytes& json, Rules rules) {
  if (json.Size() > kMaxDocumentSize) {
    return Fail(Code::kInvalid, "a document has at most this many bytes",
                Subject::Number(kMaxDocumentSize));
  }
  Document document;
  document.text = crypto::SecretBytes(json.Size() + kMissingAuthorization.size());
  std::size_t size = 0;
  auto read = json.Expose([&](std::span<const std::uint8_t> in) {
    return document.text.Fill([&](std::span<std::uint8_t> memory) -> Result<void> {
      JsonText out(memory);
      Reader reader(out, rules, document);
      const std::string_view text = AsText(in);
      if (!nlohmann::json::sax_parse(text.begin(), text.end(), &reader)) {
        return std::unexpected(reader.TakeError());
      }
      size = out.Size();
      return {};
    });
  });
  if (!read) return Fail(std::move(read));
  document.text.Truncate(size);
  return document;
}

void WriteReplaced(JsonText& out, std::string_view text, Range range,
                   std::span<const Replacement> replacements) {
  std::size_t at = range.begin;
  for (const Replacement& replacement : replacements) {
    if (replacement.where.begin < range.begin || replacement.where.end > range.end) continue;
    out.Raw(text.substr(at, replacement.where.begin - at));
    replacement.json.Expose([&out](std::span<const std::uint8_t> json) { out.Raw(AsText(json)); });
    at = replacement.where.end;
  }
  out.Raw(text.substr(at, range.end - at));
}

}  // namespace oauthvault::custody
