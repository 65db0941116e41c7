#include "daemon/rpc/secret_reply.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/slice.h>

#include <cstring>
#include <memory>
#include <string>
#include <utility>

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

std::uint8_t* WriteText(int field_number, const std::string& text, std::uint8_t* at) {
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

}  // namespace

Result<grpc::ByteBuffer> WriteRevealResponse(custody::Release release) {
  using Message = v1::RevealResponse;
  const storage::Credentials& row = release.Row();
  v1::Creator creator;
  creator.set_id(row.creator_id);
  creator.set_description(row.creator_description);
  const std::string creator_bytes = creator.SerializeAsString();
  const std::string created = custody::CreatedText(row.created_at_s);
  const std::string app_key = release.AppKey();
  const std::size_t data_size = release.DataSize();
  const std::size_t app_secret_size = release.AppSecretSize();
  const std::uint64_t version = release.Version();
  const std::uint32_t version_tag = WireFormatLite::MakeTag(Message::kVersionFieldNumber,
                                                            WireFormatLite::WIRETYPE_VARINT);

  const std::size_t size =
      FieldSize(Message::kIdFieldNumber, row.id.Str().size()) +
      FieldSize(Message::kAuthorizedForFieldNumber, row.authorized_for.size()) +
      FieldSize(Message::kCreatorFieldNumber, creator_bytes.size()) +
      FieldSize(Message::kCreatedFieldNumber, created.size()) +
      FieldSize(Message::kDataFieldNumber, data_size) +
      FieldSize(Message::kOauthVersionFieldNumber, row.oauth_version.size()) +
      FieldSize(Message::kAppKeyFieldNumber, app_key.size()) +
      FieldSize(Message::kAppSecretFieldNumber, app_secret_size) +
      CodedOutputStream::VarintSize32(version_tag) + CodedOutputStream::VarintSize64(version);

  crypto::SecretBytes reply(size);
  Result<void> opened = reply.Fill([&](std::span<std::uint8_t> bytes) {
    std::uint8_t* at = bytes.data();
    at = WriteText(Message::kIdFieldNumber, row.id.Str(), at);
    at = WriteText(Message::kAuthorizedForFieldNumber, row.authorized_for, at);
    at = WriteText(Message::kCreatorFieldNumber, creator_bytes, at);
    at = WriteText(Message::kCreatedFieldNumber, created, at);
    at = WriteHead(Message::kDataFieldNumber, data_size, at);
    const std::span<std::uint8_t> data(at, data_size);
    at += data_size;
    at = WriteText(Message::kOauthVersionFieldNumber, row.oauth_version, at);
    at = WriteText(Message::kAppKeyFieldNumber, app_key, at);
    std::span<std::uint8_t> app_secret;
    if (app_secret_size != 0) {
      at = WriteHead(Message::kAppSecretFieldNumber, app_secret_size, at);
      app_secret = std::span(at, app_secret_size);
      at += app_secret_size;
    }
    at = CodedOutputStream::WriteVarint32ToArray(version_tag, at);
    CodedOutputStream::WriteVarint64ToArray(version, at);
    return std::move(release).OpenInto(data, app_secret);
  });
  if (!opened) return Fail(std::move(opened));
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
