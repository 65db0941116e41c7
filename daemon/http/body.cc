#include "daemon/http/body.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

namespace oauthvault::http {
namespace {

/// An iterator of the parser's input that tells how far the parser has read.
class Counting {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  Counting(const char* at, const char** furthest) : at_(at), furthest_(furthest) {}
  reference operator*() const { return *at_; }
  Counting& operator++() {
    *furthest_ = ++at_;
    return *this;
  }
  Counting operator++(int) {
    Counting before = *this;
    ++*this;
    return before;
  }
  bool operator==(const Counting& other) const { return at_ == other.at_; }

 private:
  const char* at_;
  const char** furthest_;
};

}  // namespace

/// Takes the parser's events: checks, and keeps the members of the top level.
class BodyReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  using Kind = Body::Kind;

  BodyReader(std::span<const std::string_view> known, const char** read) :
      known_(known), read_(read) {}

  bool null() override { return Scalar(Kind::kNull); }
  bool boolean(bool) override { return Scalar(Kind::kOtherScalar); }
  bool number_integer(number_integer_t) override { return Scalar(Kind::kOtherScalar); }
  bool number_unsigned(number_unsigned_t) override { return Scalar(Kind::kOtherScalar); }
  bool number_float(number_float_t, const string_t&) override {
    return Scalar(Kind::kOtherScalar);
  }
  bool binary(binary_t&) override { return false; }  // JSON text has none

  bool string(string_t& value) override {
    const bool taken = Scalar(Kind::kString);
    if (taken && open_.size() == 1) {
      body_.members_[name_].bytes = crypto::SecretBytes::CopyOf(std::string_view(value));
    }
    crypto::Wipe(value);  // the parser's own buffer
    return taken;
  }

  bool start_object(std::size_t) override { return Open(true); }
  bool start_array(std::size_t) override { return Open(false); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }

  bool key(string_t& name) override {
    if (!open_.back().insert(name).second) {
      return Refuse(Error(Code::kInvalid, "a name stands twice in one object of the body"));
    }
    if (open_.size() == 1) {
      if (std::ranges::find(known_, std::string_view(name)) == known_.end()) {
        return Refuse(Error(Code::kInvalid, "the body has a member that is not known here"));
      }
      name_ = name;
    }
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

  Result<Body> Take(bool parsed) && {
    if (refused_) return std::unexpected(*refused_);
    if (!parsed) return Fail(Code::kInvalid, "the body is not JSON");
    return std::move(body_);
  }

 private:
  bool Refuse(Error error) {
    refused_ = std::move(error);
    return false;
  }
  bool NoObject() { return Refuse(Error(Code::kInvalid, "the body is not a JSON object")); }

  bool Scalar(Kind kind) {
    if (open_.empty()) return NoObject();
    if (open_.size() == 1) body_.members_[name_].kind = kind;
    return true;
  }

  bool Open(bool object) {
    if (open_.empty() && !object) return NoObject();
    if (open_.size() == kMaxBodyDepth) {
      return Refuse(Error(Code::kInvalid, "the body is nested too deep"));
    }
    // The parser has just read the bracket.
    if (open_.size() == 1) begin_ = *read_ - 1;
    open_.emplace_back();
    return true;
  }

  bool Close() {
    open_.pop_back();
    if (open_.size() != 1) return true;
    Body::Member& member = body_.members_[name_];
    member.kind = Kind::kContainer;
    member.bytes = crypto::SecretBytes::CopyOf(std::string_view(begin_, *read_));
    return true;
  }

  const std::span<const std::string_view> known_;
  const char** const read_;
  Body body_;
  std::string name_;           // of the top level's member
  const char* begin_ = nullptr;  // of its value, where it is a container
  std::vector<std::set<std::string>> open_;
  std::optional<Error> refused_;
};

Result<Body> Body::Parse(const crypto::SecretBytes& text, std::span<const std::string_view> known) {
  return text.Expose([&](std::span<const std::uint8_t> bytes) -> Result<Body> {
    const char* const begin = reinterpret_cast<const char*>(bytes.data());
    const char* read = begin;
    BodyReader reader(known, &read);
    // The parser takes a zero byte for the end, whatever stands behind it.
    if (std::ranges::find(bytes, std::uint8_t{0}) != bytes.end()) {
      return Fail(Code::kInvalid, "the body holds a zero byte");
    }
    const bool parsed = nlohmann::json::sax_parse(Counting(begin, &read),
                                                  Counting(begin + bytes.size(), &read), &reader);
    return std::move(reader).Take(parsed);
  });
}

bool Body::Has(std::string_view name) const {
  const auto found = members_.find(name);
  return found != members_.end() && found->second.kind != Kind::kNull;
}

Result<std::optional<crypto::SecretBytes>> Body::TakeSecret(std::string_view name) {
  if (!Has(name)) return std::nullopt;
  Member& member = members_.find(name)->second;
  if (member.kind != Kind::kString) {
    return Fail(Code::kInvalid, "a member of the body must be a string",
                Subject::Path(std::string(name)));
  }
  return std::optional(std::move(member.bytes));
}

Result<std::optional<std::string>> Body::TakeText(std::string_view name) {
  auto bytes = TakeSecret(name);
  if (!bytes) return Fail(std::move(bytes));
  if (!*bytes) return std::nullopt;
  return (*bytes)->Expose([](std::span<const std::uint8_t> text) {
    return std::optional(std::string(text.begin(), text.end()));
  });
}

Result<std::optional<crypto::SecretBytes>> Body::TakeRaw(std::string_view name) {
  if (!Has(name)) return std::nullopt;
  Member& member = members_.find(name)->second;
  if (member.kind != Kind::kContainer) {
    return Fail(Code::kInvalid, "a member of the body must be an object",
                Subject::Path(std::string(name)));
  }
  return std::optional(std::move(member.bytes));
}

}  // namespace oauthvault::http
