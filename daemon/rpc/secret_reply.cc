#include "daemon/rpc/secret_reply.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/slice.h>

#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "daemon/custody/kept.h"
#include "oauthvault/v1/credentials.pb.h"

namespace oauthvault::rpc {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedOutputStream;

constexpr std::uint32_t TagOf(int field_number) {
  return WireFormatLite::MakeTag(field_number, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
}

std::size_t FieldSize(int field_number, std::size_t size) {
  return size == 0 ? 0
                   : CodedOutputStream::VarintSize32(TagOf(field_number)) +
                         CodedOutputStream::VarintSize32(static_cast<std::uint32_t>(size)) + size;
}

// Writes tag and length of a field; the bytes follow at the returned place.
std::uint8_t* WriteHead(int field_number, std::size_t size, std::uint8_t* at) {
  at = CodedOutputStream::WriteVarint32ToArray(TagOf(field_number), at);
  return CodedOutputStream::WriteVarint32ToArray(static_cast<std::uint32_t>(size), at);
}

std::uint8_t* WriteText(int field_number, std::string_view text, std::uint8_t* at) {
  if (text.empty()) return at;
  at = WriteHead(field_number, text.size(), at);
  std::memcpy(at, text.data(), text.size());
  return at + text.size();
}

// A buffer that gRPC reads from where it lies and wipes through SecretBytes when it lets go.
grpc::ByteBuffer Adopt(crypto::SecretBytes bytes) {
  auto* kept = new crypto::SecretBytes(std::move(bytes));
  const grpc::Slice slice = kept->Fill([kept](std::span<std::uint8_t> view) {
    return grpc::Slice(
        view.data(), view.size(),
        [](void* ended) { delete static_cast<crypto::SecretBytes*>(ended); }, kept);
  });
  return grpc::ByteBuffer(&slice, 1);
}

std::size_t TextSize(int field_number, std::string_view text) {
  return FieldSize(field_number, text.size());
}

// A v1.RevealResponse but for its two secrets, whose places it knows. A view of the row.
class RevealFields {
 public:
  RevealFields(const storage::Credentials& row, std::uint64_t version, std::size_t data_size,
               std::size_t app_secret_size)
      : row_(row), app_key_(custody::AppKeyOf(row)),
        created_(custody::CreatedText(row.created_at_s)), version_(version),
        data_size_(data_size), app_secret_size_(app_secret_size),
        creator_size_(
            TextSize(v1::Creator::kIdFieldNumber, row.creator_id) +
            TextSize(v1::Creator::kDescriptionFieldNumber, row.creator_description)) {}

  std::size_t Size() const {
    return TextSize(Message::kIdFieldNumber, row_.id.Str()) +
           TextSize(Message::kAuthorizedForFieldNumber, row_.authorized_for) +
           FieldSize(Message::kCreatorFieldNumber, creator_size_) +
           TextSize(Message::kCreatedFieldNumber, created_) +
           FieldSize(Message::kDataFieldNumber, data_size_) +
           TextSize(Message::kOauthVersionFieldNumber, row_.oauth_version) +
           TextSize(Message::kAppKeyFieldNumber, app_key_) +
           FieldSize(Message::kAppSecretFieldNumber, app_secret_size_) +
           CodedOutputStream::VarintSize32(kVersionTag) +
           CodedOutputStream::VarintSize64(version_);
  }

  // Where the secrets go: the rest of the message is there.
  struct Places {
    std::span<std::uint8_t> data;
    std::span<std::uint8_t> app_secret;
  };
  // Writes Size() bytes.
  Places WriteTo(std::uint8_t* at) const {
    Places places;
    at = WriteText(Message::kIdFieldNumber, row_.id.Str(), at);
    at = WriteText(Message::kAuthorizedForFieldNumber, row_.authorized_for, at);
    if (creator_size_ != 0) at = WriteHead(Message::kCreatorFieldNumber, creator_size_, at);
    at = WriteText(v1::Creator::kIdFieldNumber, row_.creator_id, at);
    at = WriteText(v1::Creator::kDescriptionFieldNumber, row_.creator_description, at);
    at = WriteText(Message::kCreatedFieldNumber, created_, at);
    at = LeaveRoom(Message::kDataFieldNumber, data_size_, at, places.data);
    at = WriteText(Message::kOauthVersionFieldNumber, row_.oauth_version, at);
    at = WriteText(Message::kAppKeyFieldNumber, app_key_, at);
    at = LeaveRoom(Message::kAppSecretFieldNumber, app_secret_size_, at, places.app_secret);
    at = CodedOutputStream::WriteVarint32ToArray(kVersionTag, at);
    CodedOutputStream::WriteVarint64ToArray(version_, at);
    return places;
  }

 private:
  using Message = v1::RevealResponse;
  static constexpr std::uint32_t kVersionTag =
      WireFormatLite::MakeTag(Message::kVersionFieldNumber, WireFormatLite::WIRETYPE_VARINT);

  static std::uint8_t* LeaveRoom(int field_number, std::size_t size, std::uint8_t* at,
                                 std::span<std::uint8_t>& room) {
    if (size == 0) return at;
    at = WriteHead(field_number, size, at);
    room = std::span(at, size);
    return at + size;
  }

  const storage::Credentials& row_;
  const std::string& app_key_;
  const std::string created_;
  const std::uint64_t version_;
  const std::size_t data_size_;
  const std::size_t app_secret_size_;
  const std::size_t creator_size_;
};

RevealFields FieldsOf(const custody::Kept& kept) {
  return {kept.credentials.row, kept.credentials.version, kept.DataSize(), kept.AppSecretSize()};
}

// A v1.RevealedItem that has a code, and no credentials.
std::size_t RefusedSize(const OauthId& id, std::string_view code) {
  return TextSize(v1::RevealedItem::kIdFieldNumber, id.Str()) +
         TextSize(v1::RevealedItem::kCodeFieldNumber, code);
}

// One that has credentials of so many bytes.
std::size_t RevealedSize(const OauthId& id, std::size_t credentials_size) {
  return TextSize(v1::RevealedItem::kIdFieldNumber, id.Str()) +
         FieldSize(v1::RevealedItem::kCredentialsFieldNumber, credentials_size);
}

std::uint8_t* WriteRefused(const OauthId& id, Code code, std::uint8_t* at) {
  at = WriteHead(v1::RevealManyResponse::kItemsFieldNumber, RefusedSize(id, NameOf(code)), at);
  at = WriteText(v1::RevealedItem::kIdFieldNumber, id.Str(), at);
  return WriteText(v1::RevealedItem::kCodeFieldNumber, NameOf(code), at);
}

std::uint8_t* WriteRevealed(const custody::Sought& item, custody::Releases& releases,
                            std::uint8_t* at) {
  const RevealFields fields = FieldsOf(*item.kept);
  const std::size_t size = fields.Size();
  std::uint8_t* const begin = at;
  at = WriteHead(v1::RevealManyResponse::kItemsFieldNumber, RevealedSize(item.id, size), at);
  at = WriteText(v1::RevealedItem::kIdFieldNumber, item.id.Str(), at);
  at = WriteHead(v1::RevealedItem::kCredentialsFieldNumber, size, at);
  const RevealFields::Places places = fields.WriteTo(at);
  const Result<void> opened = releases.OpenInto(item, places.data, places.app_secret);
  // A code is shorter than the public fields of any credentials.
  return opened ? at + size : WriteRefused(item.id, opened.error().GetCode(), begin);
}

}  // namespace

Result<grpc::ByteBuffer> WriteRevealResponse(custody::Release release) {
  const RevealFields fields(release.Row(), release.Version(), release.DataSize(),
                            release.AppSecretSize());
  crypto::SecretBytes reply(fields.Size());
  Result<void> opened = reply.Fill([&](std::span<std::uint8_t> bytes) {
    const RevealFields::Places places = fields.WriteTo(bytes.data());
    return std::move(release).OpenInto(places.data, places.app_secret);
  });
  if (!opened) return Fail(std::move(opened));
  return Adopt(std::move(reply));
}

std::size_t RevealManyResponseSize(std::span<const custody::Sought> items) {
  std::size_t size = 0;
  for (const custody::Sought& item : items) {
    size += FieldSize(v1::RevealManyResponse::kItemsFieldNumber,
                      item.kept ? RevealedSize(item.id, FieldsOf(*item.kept).Size())
                                : RefusedSize(item.id, NameOf(item.kept.error().GetCode())));
  }
  return size;
}

grpc::ByteBuffer WriteRevealManyResponse(custody::Releases releases) {
  crypto::SecretBytes reply(RevealManyResponseSize(releases.Items()));
  const std::size_t written = reply.Fill([&](std::span<std::uint8_t> bytes) {
    std::uint8_t* at = bytes.data();
    for (const custody::Sought& item : releases.Items()) {
      at = item.kept ? WriteRevealed(item, releases, at)
                     : WriteRefused(item.id, item.kept.error().GetCode(), at);
    }
    return static_cast<std::size_t>(at - bytes.data());
  });
  reply.Truncate(written);
  return Adopt(std::move(reply));
}

grpc::ByteBuffer WriteInjectResponse(crypto::SecretBytes configuration) {
  constexpr int kField = v1::InjectResponse::kConfigurationFieldNumber;
  crypto::SecretBytes reply(FieldSize(kField, configuration.Size()));
  reply.Fill([&](std::span<std::uint8_t> bytes) {
    if (bytes.empty()) return;
    std::uint8_t* at = WriteHead(kField, configuration.Size(), bytes.data());
    configuration.Expose([at](std::span<const std::uint8_t> text) {
      std::memcpy(at, text.data(), text.size());
    });
  });
  return Adopt(std::move(reply));
}

}  // namespace oauthvault::rpc
