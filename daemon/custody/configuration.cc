#include "daemon/custody/configuration.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/custody/json_text.h"

namespace oauthvault::custody {

namespace {

/// What the end of a document without `authorization` grows by.
constexpr std::string_view kMissingAuthorization = R"(,"authorization":{})";

/// The prefixes of sealed values: a scope, for some clouds with their mark, or a legacy form.
bool IsSealedValue(std::string_view text) {
  constexpr std::string_view kStart = "KBC::";
  if (!text.starts_with(kStart)) return false;
  text.remove_prefix(kStart.size());
  for (const std::string_view legacy :
       {"Encrypted==", "ComponentEncrypted==", "ComponentProjectEncrypted=="}) {
    if (text.starts_with(legacy)) return true;
  }
  for (const std::string_view scope : {"ComponentSecure", "ProjectSecure", "ConfigSecure",
                                       "ProjectWideSecure", "BranchTypeSecure"}) {
    if (!text.starts_with(scope)) continue;
    const std::string_view rest = text.substr(scope.size());
    for (const std::string_view mark : {"::", "KV::", "GKMS::"}) {
      if (rest.starts_with(mark)) return true;
    }
  }
  return false;
}

/// Where a value stands, as far as the four rules ask.
enum class Place : std::uint8_t { kRoot, kAuthorization, kOauthApi, kId, kOther };

enum class Kind : std::uint8_t { kNull, kString, kOtherScalar, kObject, kArray };

/// Takes the parser's events once: checks, notes what the four rules need, and writes the document
/// again without its white space. No tree is built, so that the document's values stand in `out`
/// alone. That text is never longer than what was read, but for kMissingAuthorization: an escape
/// is written in its shortest form and a number as it was spelled.
class Reader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Reader(JsonText& out) : out_(out) {}

  bool null() override {
    if (!Begin(Kind::kNull)) return false;
    // A reader that expects an object breaks on null (facts of the original's extension).
    out_.Raw(place_ == Place::kAuthorization ? "{}" : "null");
    return true;
  }

  bool boolean(bool value) override {
    if (!Begin(Kind::kOtherScalar)) return false;
    out_.Raw(value ? "true" : "false");
    return true;
  }

  bool number_integer(number_integer_t value) override {
    if (!Begin(Kind::kOtherScalar)) return false;
    // Zero comes as a signed number when it was spelled with a sign only.
    out_.Raw(value == 0 ? "-0" : std::to_string(value));
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (!Begin(Kind::kOtherScalar)) return false;
    out_.Raw(std::to_string(value));
    return true;
  }

  bool number_float(number_float_t, const string_t& spelled) override {
    if (!Begin(Kind::kOtherScalar)) return false;
    // An integer comes here when 64 bits do not hold it.
    if (std::all_of(spelled.begin() + 1, spelled.end(), IsDigit)) return RefuseNumber();
    // The parser spells the point as the process's locale does.
    for (const char c : spelled) {
      const bool point = !IsDigit(c) && c != '-' && c != '+' && c != 'e' && c != 'E';
      out_.Raw(point ? "." : std::string_view(&c, 1));
    }
    return true;
  }

  bool string(string_t& value) override {
    if (!Begin(Kind::kString)) return false;
    if (hash_key_ && IsSealedValue(value)) {
      return Refuse("the configuration holds a sealed value, and this vault opens none yet");
    }
    if (place_ == Place::kId) id_ = OauthId::Parse(value);
    out_.String(value);
    crypto::Wipe(value);  // the parser's own buffer
    return true;
  }

  bool binary(binary_t&) override { return RefuseShape(); }  // JSON text has none

  bool start_object(std::size_t) override {
    if (!Begin(Kind::kObject) || !Open(true)) return false;
    out_.Raw("{");
    if (place_ == Place::kOauthApi) oauth_api_begin_ = out_.Size();
    return true;
  }

  bool key(string_t& name) override {
    Container& object = open_.back();
    if (!object.keys.insert(name).second) {
      return Refuse("a key stands twice in one object of the configuration");
    }
    place_ = Place::kOther;
    hash_key_ = name.starts_with('#');
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
        has_credentials_ = true;
      } else if (name != "version") {
        return Refuse("authorization.oauth_api knows id, version and credentials only");
      }
    }
    Separate();
    out_.String(name);
    out_.Raw(":");
    return true;
  }

  bool end_object() override {
    if (open_.back().place == Place::kOauthApi) oauth_api_end_ = out_.Size();
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
    return Refuse("the configuration is not JSON in UTF-8, seen at byte",
                  Subject::Number(static_cast<std::int64_t>(position)));
  }

  /// Why the parser was stopped.
  Error TakeError() { return std::move(*error_); }

  bool HasCredentials() const { return has_credentials_; }
  /// None: no id stands there.
  std::optional<Result<OauthId>>& StoredId() { return id_; }
  /// Offsets in the text: just behind the opening brace of `oauth_api`, and its closing one.
  std::size_t OauthApiBegin() const { return oauth_api_begin_; }
  std::size_t OauthApiEnd() const { return oauth_api_end_; }

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

  bool RefuseShape() { return Refuse("a configuration is one JSON object"); }

  bool RefuseNumber() {
    return Refuse("the configuration holds a number beyond 64 bits, or beyond a double");
  }

  bool RefusePlace(Place place) {
    if (place == Place::kAuthorization) return Refuse("authorization is no object");
    return Refuse("authorization.oauth_api is no object");
  }

  void Separate() {
    if (open_.back().members++ > 0) out_.Raw(",");
  }

  /// Before each value: finds its place (`key` did that for a member) and checks what may stand
  /// there.
  bool Begin(Kind kind) {
    if (open_.empty()) {
      place_ = Place::kRoot;
      hash_key_ = false;
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
      id_ = Fail(Code::kInvalid, "authorization.oauth_api.id is no string");
      if (kind == Kind::kObject || kind == Kind::kArray) place_ = Place::kOther;
    }
    return true;
  }

  bool Open(bool is_object) {
    if (open_.size() == kMaxConfigurationDepth) {
      return Refuse("a configuration is nested at most this deep",
                    Subject::Number(kMaxConfigurationDepth));
    }
    open_.push_back({is_object, place_, hash_key_, 0, {}});
    return true;
  }

  JsonText& out_;
  std::vector<Container> open_;
  Place place_ = Place::kRoot;  // of the value that comes, or came last
  bool hash_key_ = false;       // whether it stands under a `#` key
  bool has_authorization_ = false;
  bool has_credentials_ = false;
  std::optional<Result<OauthId>> id_;
  std::size_t oauth_api_begin_ = 0;
  std::size_t oauth_api_end_ = 0;
  std::optional<Error> error_;
};

std::string_view AsText(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void WriteCredentials(JsonText& out, const EightKeys& keys, std::span<const std::uint8_t> data,
                      std::span<const std::uint8_t> app_secret) {
  out.Raw(R"({"id":)");
  out.String(keys.id);
  out.Raw(R"(,"authorizedFor":)");
  out.String(keys.authorized_for);
  out.Raw(R"(,"creator":{"id":)");
  out.String(keys.creator_id);
  out.Raw(R"(,"description":)");
  out.String(keys.creator_description);
  out.Raw(R"(},"created":)");
  out.String(keys.created);
  out.Raw(R"(,"#data":)");
  out.String(data);
  out.Raw(R"(,"oauthVersion":)");
  out.String(keys.oauth_version);
  out.Raw(R"(,"appKey":)");
  out.String(keys.app_key);
  out.Raw(R"(,"#appSecret":)");
  out.String(app_secret);
  out.Raw("}");
}

}  // namespace

struct Configuration::State {
  crypto::SecretBytes text;  // without white space, `authorization` always there
  Plan plan = Plan::kNothing;
  std::optional<OauthId> id;
  // With kLookUp: the members of `authorization.oauth_api` in the text, and its closing brace.
  std::size_t oauth_api_begin = 0;
  std::size_t oauth_api_end = 0;
};

Configuration::Configuration(std::unique_ptr<State> state) : state_(std::move(state)) {}
Configuration::~Configuration() = default;
Configuration::Configuration(Configuration&&) noexcept = default;
Configuration& Configuration::operator=(Configuration&&) noexcept = default;

Result<Configuration> Configuration::Parse(const crypto::SecretBytes& document) {
  if (document.Size() > kMaxConfigurationSize) {
    return Fail(Code::kInvalid, "a configuration has at most this many bytes",
                Subject::Number(kMaxConfigurationSize));
  }
  auto state = std::make_unique<State>();
  state->text = crypto::SecretBytes(document.Size() + kMissingAuthorization.size());

  std::size_t size = 0;
  auto read = document.Expose([&](std::span<const std::uint8_t> in) {
    return state->text.Fill([&](std::span<std::uint8_t> memory) -> Result<void> {
      JsonText out(memory);
      Reader reader(out);
      const std::string_view text = AsText(in);
      if (!nlohmann::json::sax_parse(text.begin(), text.end(), &reader)) {
        return std::unexpected(reader.TakeError());
      }
      size = out.Size();
      // Rules 2, 3 and 4; rule 1 is what the reader writes, and leads to the fourth.
      if (reader.HasCredentials()) {
        state->plan = Plan::kBypass;
      } else if (auto& id = reader.StoredId()) {
        if (!*id) return Fail(std::move(*id));
        state->plan = Plan::kLookUp;
        state->id = std::move(**id);
        state->oauth_api_begin = reader.OauthApiBegin();
        state->oauth_api_end = reader.OauthApiEnd();
      }
      return {};
    });
  });
  if (!read) return Fail(std::move(read));
  state->text.Truncate(size);
  return Configuration(std::move(state));
}

Configuration::Plan Configuration::GetPlan() const { return state_->plan; }

const std::optional<OauthId>& Configuration::Id() const { return state_->id; }

crypto::SecretBytes Configuration::Write() const { return state_->text.Clone(); }

crypto::SecretBytes Configuration::WriteWith(const EightKeys& keys, bool drop_id) const {
  // Without an id to look up there is no place for credentials, or others stand in it.
  if (state_->plan != Plan::kLookUp) std::abort();
  const auto write_with = [&](std::span<const std::uint8_t> text,
                              std::span<const std::uint8_t> data,
                              std::span<const std::uint8_t> app_secret) {
    const std::string_view whole = AsText(text);
    // `oauth_api` has no members but `id` and `version`, so dropping those is dropping all.
    const std::size_t kept = drop_id ? state_->oauth_api_begin : state_->oauth_api_end;
    const auto write = [&](JsonText& out) {
      out.Raw(whole.substr(0, kept));
      out.Raw(drop_id ? R"("credentials":)" : R"(,"credentials":)");
      WriteCredentials(out, keys, data, app_secret);
      out.Raw(whole.substr(state_->oauth_api_end));
    };
    JsonText count;
    write(count);
    crypto::SecretBytes document(count.Size());
    document.Fill([&](std::span<std::uint8_t> memory) {
      JsonText out(memory);
      write(out);
    });
    return document;
  };
  return state_->text.Expose([&](std::span<const std::uint8_t> text) {
    return keys.data.Bytes().Expose([&](std::span<const std::uint8_t> data) {
      return keys.app_secret.Bytes().Expose([&](std::span<const std::uint8_t> app_secret) {
        return write_with(text, data, app_secret);
      });
    });
  });
}

}  // namespace oauthvault::custody
