#include "client/revealed.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <cctype>
#include <limits>
#include <string_view>

#include "oauthvault/v1/credentials.pb.h"
#include "oauthvault/v1/operations.pb.h"
#include "oauthvault/v1/tokens.pb.h"

namespace oauthvault::client {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using Reveal = v1::RevealResponse;
using AddedSlot = v1::AddSlotResponse;

/// A field of more than this is no answer of a vault: data is 64 KiB, a configuration 240 KiB and
/// what is filled in.
constexpr std::uint32_t kMaxFieldSize = 1024 * 1024;

/// The most texts that a slot has, and the longest: the contract's bounds for shares and `Unseal`.
constexpr std::size_t kMaxSlotTexts = 16;
constexpr std::size_t kMaxSlotTextSize = 4096;

std::unexpected<Failure> Malformed() {
  return Refuse(Code::kCorrupt, "the daemon's answer is not of this contract: are client and "
                                "daemon of the same release?");
}

constexpr std::uint32_t Tag(int field, WireFormatLite::WireType type) {
  return WireFormatLite::MakeTag(field, type);
}
constexpr std::uint32_t Bytes(int field) {
  return Tag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
}

bool ReadText(CodedInputStream& in, std::string& text) {
  std::uint32_t size = 0;
  return in.ReadVarint32(&size) && size <= kMaxFieldSize &&
         in.ReadString(&text, static_cast<int>(size));
}

bool ReadSecret(CodedInputStream& in, crypto::SecretBytes& secret) {
  std::uint32_t size = 0;
  if (!in.ReadVarint32(&size) || size > kMaxFieldSize) return false;
  secret = crypto::SecretBytes(size);
  return secret.Fill([&](std::span<std::uint8_t> bytes) {
    return in.ReadRaw(bytes.data(), static_cast<int>(bytes.size()));
  });
}

/// Walks the fields of one message: `read` answers whether it could read a field that it knows.
enum class Field { kRead, kUnknown, kMalformed };
template <class Read>
bool Walk(CodedInputStream& in, Read read) {
  while (const std::uint32_t tag = in.ReadTag()) {
    switch (read(tag)) {
      case Field::kRead: break;
      case Field::kMalformed: return false;
      case Field::kUnknown:
        if (!WireFormatLite::SkipField(&in, tag)) return false;
    }
  }
  // A tag of 0 is the end of the message, or damage.
  return in.ConsumedEntireMessage();
}

Field If(bool read) { return read ? Field::kRead : Field::kMalformed; }

/// Reads a message that is a field of another, by `read`: it must reach its own end, not that of
/// the input.
template <class Read>
bool Within(CodedInputStream& in, Read read) {
  std::uint32_t size = 0;
  if (!in.ReadVarint32(&size) || size > kMaxFieldSize) return false;
  const auto limit = in.PushLimit(static_cast<int>(size));
  const bool whole = read() && in.BytesUntilLimit() == 0;
  in.PopLimit(limit);
  return whole;
}

template <class Read>
bool WalkWithin(CodedInputStream& in, Read read) {
  return Within(in, [&] { return Walk(in, read); });
}

bool ReadCreator(CodedInputStream& in, Revealed& revealed) {
  return WalkWithin(in, [&](std::uint32_t tag) {
    switch (tag) {
      case Bytes(v1::Creator::kIdFieldNumber): return If(ReadText(in, revealed.creator_id));
      case Bytes(v1::Creator::kDescriptionFieldNumber):
        return If(ReadText(in, revealed.creator_description));
      default: return Field::kUnknown;
    }
  });
}

Field ReadFieldOfReveal(CodedInputStream& in, std::uint32_t tag, Revealed& revealed) {
  switch (tag) {
    case Bytes(Reveal::kIdFieldNumber): return If(ReadText(in, revealed.id));
    case Bytes(Reveal::kAuthorizedForFieldNumber):
      return If(ReadText(in, revealed.authorized_for));
    case Bytes(Reveal::kCreatorFieldNumber): return If(ReadCreator(in, revealed));
    case Bytes(Reveal::kCreatedFieldNumber): return If(ReadText(in, revealed.created));
    case Bytes(Reveal::kDataFieldNumber): return If(ReadSecret(in, revealed.data.Bytes()));
    case Bytes(Reveal::kOauthVersionFieldNumber): return If(ReadText(in, revealed.oauth_version));
    case Bytes(Reveal::kAppKeyFieldNumber): return If(ReadText(in, revealed.app_key));
    case Bytes(Reveal::kAppSecretFieldNumber):
      return If(ReadSecret(in, revealed.app_secret.Bytes()));
    case Tag(Reveal::kVersionFieldNumber, WireFormatLite::WIRETYPE_VARINT): {
      std::uint64_t version = 0;
      const bool read = in.ReadVarint64(&version);
      revealed.version = version;
      return If(read);
    }
    default: return Field::kUnknown;
  }
}

/// Stored credentials always have an id and data; an answer without them is another message.
bool IsWhole(const Revealed& revealed) { return !revealed.id.empty() && !revealed.data.Empty(); }

bool ReadItem(CodedInputStream& in, RevealedItem& item) {
  const bool walked = WalkWithin(in, [&](std::uint32_t tag) {
    switch (tag) {
      case Bytes(v1::RevealedItem::kIdFieldNumber): return If(ReadText(in, item.id));
      case Bytes(v1::RevealedItem::kCodeFieldNumber): return If(ReadText(in, item.code));
      case Bytes(v1::RevealedItem::kCredentialsFieldNumber):
        return If(WalkWithin(in, [&](std::uint32_t inner) {
          return ReadFieldOfReveal(in, inner, item.revealed);
        }));
      default: return Field::kUnknown;
    }
  });
  return walked && !item.id.empty() && IsWhole(item.revealed) == item.code.empty();
}

/// The slot itself is no secret, so it may become a message.
bool ReadSlot(CodedInputStream& in, NewSlot& slot) {
  v1::Slot message;
  const bool whole = Within(in, [&] { return message.MergeFromCodedStream(&in); });
  slot.id = message.id();
  slot.kind = message.kind();
  slot.label = message.label();
  slot.threshold = message.threshold();
  slot.total = message.total();
  return whole;
}

bool ReadSlotText(CodedInputStream& in, NewSlot& slot) {
  crypto::SecretBytes text;
  if (slot.texts.size() == kMaxSlotTexts || !ReadSecret(in, text)) return false;
  const bool printable = text.Expose([](std::span<const std::uint8_t> bytes) {
    return std::ranges::all_of(bytes, [](std::uint8_t byte) {
      return byte >= 0x20 && byte < 0x7F && byte != '"' && byte != '\\';
    });
  });
  const bool fits = printable && !text.Empty() && text.Size() <= kMaxSlotTextSize;
  slot.texts.push_back(std::move(text));
  return fits;
}

/// The token itself is no secret, its text is.
bool ReadToken(CodedInputStream& in, NewToken& token) {
  v1::Token message;
  const bool whole = Within(in, [&] { return message.MergeFromCodedStream(&in); });
  token.id = message.id();
  token.title = message.title();
  token.project = message.project();
  token.component = message.component();
  token.rights.assign(message.rights().begin(), message.rights().end());
  token.expires_at_s = message.expires_at_s();
  return whole;
}

bool ReadTokenText(CodedInputStream& in, NewToken& token) {
  if (!ReadSecret(in, token.text)) return false;
  return token.text.Expose([](std::span<const std::uint8_t> bytes) {
    return bytes.size() <= kMaxSlotTextSize && std::ranges::all_of(bytes, [](std::uint8_t byte) {
             return std::isalnum(byte) != 0 || byte == '_';
           });
  });
}

void AppendJsonString(std::string_view text, std::string& json) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  json += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    switch (c) {
      case '"': json += "\\\""; break;
      case '\\': json += "\\\\"; break;
      case '\n': json += "\\n"; break;
      case '\r': json += "\\r"; break;
      case '\t': json += "\\t"; break;
      default:
        if (byte < 0x20 || byte == 0x7f) {
          json += "\\u00";
          json += kHex[byte >> 4U];
          json += kHex[byte & 15U];
        } else {
          json += c;
        }
    }
  }
  json += '"';
}

void AppendJsonString(const crypto::SecretBytes& secret, std::string& json) {
  secret.Expose([&](std::span<const std::uint8_t> bytes) {
    AppendJsonString(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
                     json);
  });
}

/// Room for the worst case (\u00xx for each byte), so that the text is never moved: a moved string
/// leaves its old bytes behind unwiped.
std::size_t RoomFor(const Revealed& revealed) {
  const std::size_t texts =
      revealed.id.size() + revealed.authorized_for.size() + revealed.creator_id.size() +
      revealed.creator_description.size() + revealed.created.size() + revealed.data.Bytes().Size() +
      revealed.oauth_version.size() + revealed.app_key.size() + revealed.app_secret.Bytes().Size();
  return 6 * texts + 512;
}

/// What stands around and between the keys of an object.
struct Spelling {
  std::string_view begin;
  std::string_view between;
  std::string_view end;
};

void AppendEightKeys(const Revealed& revealed, const Spelling& spelling, std::string& json) {
  json += spelling.begin;
  json += "\"id\": ";
  AppendJsonString(revealed.id, json);
  json += spelling.between;
  json += "\"authorizedFor\": ";
  AppendJsonString(revealed.authorized_for, json);
  json += spelling.between;
  json += "\"creator\": {\"id\": ";
  AppendJsonString(revealed.creator_id, json);
  json += ", \"description\": ";
  AppendJsonString(revealed.creator_description, json);
  json += '}';
  json += spelling.between;
  json += "\"created\": ";
  AppendJsonString(revealed.created, json);
  json += spelling.between;
  json += "\"#data\": ";
  AppendJsonString(revealed.data.Bytes(), json);
  json += spelling.between;
  json += "\"oauthVersion\": ";
  AppendJsonString(revealed.oauth_version, json);
  json += spelling.between;
  json += "\"appKey\": ";
  AppendJsonString(revealed.app_key, json);
  json += spelling.between;
  json += "\"#appSecret\": ";
  AppendJsonString(revealed.app_secret.Bytes(), json);
  json += spelling.end;
}

crypto::SecretBytes TakeSecret(std::string& json) {
  auto bytes = crypto::SecretBytes::CopyOf(json);
  crypto::Wipe(json);
  return bytes;
}

}  // namespace

Outcome<Revealed> ReadRevealed(google::protobuf::io::ZeroCopyInputStream& bytes) {
  CodedInputStream in(&bytes);
  Revealed revealed;
  const bool walked =
      Walk(in, [&](std::uint32_t tag) { return ReadFieldOfReveal(in, tag, revealed); });
  if (!walked || !IsWhole(revealed)) return Malformed();
  return revealed;
}

Outcome<std::vector<RevealedItem>> ReadRevealedItems(
    google::protobuf::io::ZeroCopyInputStream& bytes) {
  CodedInputStream in(&bytes);
  std::vector<RevealedItem> items;
  const bool walked = Walk(in, [&](std::uint32_t tag) {
    if (tag != Bytes(v1::RevealManyResponse::kItemsFieldNumber)) return Field::kUnknown;
    if (items.size() == kMaxRevealedItems) return Field::kMalformed;
    return If(ReadItem(in, items.emplace_back()));
  });
  if (!walked || items.empty()) return Malformed();
  return items;
}

Outcome<crypto::SecretBytes> ReadInjected(google::protobuf::io::ZeroCopyInputStream& bytes) {
  CodedInputStream in(&bytes);
  crypto::SecretBytes configuration;
  const bool walked = Walk(in, [&](std::uint32_t tag) {
    if (tag != Bytes(v1::InjectResponse::kConfigurationFieldNumber)) return Field::kUnknown;
    return If(ReadSecret(in, configuration));
  });
  if (!walked || configuration.Empty()) return Malformed();
  return configuration;
}

Outcome<NewSlot> ReadNewSlot(google::protobuf::io::ZeroCopyInputStream& bytes) {
  CodedInputStream in(&bytes);
  NewSlot slot;
  const bool walked = Walk(in, [&](std::uint32_t tag) {
    switch (tag) {
      case Bytes(AddedSlot::kSlotFieldNumber): return If(ReadSlot(in, slot));
      case Bytes(AddedSlot::kTextsFieldNumber): return If(ReadSlotText(in, slot));
      default: return Field::kUnknown;
    }
  });
  if (!walked || slot.id == 0) return Malformed();
  return slot;
}

Outcome<NewToken> ReadNewToken(google::protobuf::io::ZeroCopyInputStream& bytes) {
  CodedInputStream in(&bytes);
  NewToken token;
  const bool walked = Walk(in, [&](std::uint32_t tag) {
    switch (tag) {
      case Bytes(v1::IssueTokenResponse::kTokenFieldNumber): return If(ReadToken(in, token));
      case Bytes(v1::IssueTokenResponse::kTextFieldNumber): return If(ReadTokenText(in, token));
      default: return Field::kUnknown;
    }
  });
  if (!walked || token.id.empty() || token.text.Empty()) return Malformed();
  return token;
}

crypto::SecretBytes RevealedAsJson(const Revealed& revealed) {
  std::string json;
  json.reserve(RoomFor(revealed));
  AppendEightKeys(revealed, {"{\n  ", ",\n  ", "\n}\n"}, json);
  return TakeSecret(json);
}

crypto::SecretBytes ItemsAsJsonLines(std::span<const RevealedItem> items) {
  std::size_t room = 0;
  for (const RevealedItem& item : items) {
    room += 6 * (item.id.size() + item.code.size()) + RoomFor(item.revealed);
  }
  std::string json;
  json.reserve(room);
  for (const RevealedItem& item : items) {
    if (item.code.empty()) {
      AppendEightKeys(item.revealed, {"{", ", ", "}\n"}, json);
      continue;
    }
    json += "{\"id\": ";
    AppendJsonString(item.id, json);
    json += ", \"code\": ";
    AppendJsonString(item.code, json);
    json += "}\n";
  }
  return TakeSecret(json);
}

}  // namespace oauthvault::client
