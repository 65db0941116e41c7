#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include "crypto/error.h"
#include "daemon/rpc/edge.h"

namespace oauthvault::rpc {

/// The request of a method that answers with raw bytes. Errors: Invalid.
template <class Message>
Result<Message> Decode(const grpc::ByteBuffer& bytes) {
  grpc::ByteBuffer shared = bytes;  // counts references; the reader wants a mutable one
  grpc::ProtoBufferReader reader(&shared);
  Message message;
  if (!reader.status().ok() || !message.ParseFromZeroCopyStream(&reader)) {
    return Fail(Code::kInvalid, "the request is no message of this method");
  }
  return message;
}

/// Takes a step of a method that answers by itself. A step that throws has not answered yet, and
/// `refuse(error)` does: gRPC would say UNIMPLEMENTED with no text, and the trail's thread would
/// end the process.
template <class Refuse, class Step>
void Take(const Refuse& refuse, Step step) noexcept {
  try {
    step();
  } catch (...) {
    refuse(Edge::FailedInside());
  }
}

}  // namespace oauthvault::rpc
