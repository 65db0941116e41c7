// Everything of a reveal that is not gRPC's: decode, decide, look up, record and open, into the
// bytes of the answer; and an echo of the same sizes, which only decodes and encodes. For
// callgrind, which counts instructions: instructions.py says how.
//   reveal_instructions reveal|echo TIMES
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "daemon/access/decide.h"
#include "daemon/custody/reveal.h"
#include "daemon/rpc/secret_reply.h"
#include "echo.pb.h"
#include "oauthvault/v1/credentials.pb.h"
#include "tests/bench/credentials_data.h"
#include "tests/daemon/custody/test_vault.h"

namespace oauthvault::bench {
namespace {

constexpr std::size_t kDataBytes = 1024;
constexpr std::size_t kCredentials = 16;
constexpr std::size_t kReplyBytes = 1100;

v1::RevealRequest Decoded(const std::string& bytes) {
  v1::RevealRequest request;
  if (!request.ParseFromString(bytes)) std::abort();
  return request;
}

std::string RequestBytes(const fakes::TestVault& vault, std::size_t number) {
  v1::RevealRequest request;
  request.set_project(vault.project.Str());
  request.set_component(vault.component.Str());
  request.set_id(IdOf(number % kCredentials));
  return request.SerializeAsString();
}

void RevealOnce(fakes::TestVault& vault, const std::string& bytes,
                const access::GrantTable& grants) {
  const v1::RevealRequest request = Decoded(bytes);
  auto id = OauthId::Parse(request.id());
  auto permit = access::Decide(fakes::TestVault::Runner(), access::Right::kReveal,
                               {request.project(), request.component()}, grants);
  if (!id || !permit) std::abort();
  auto release = custody::RevealAndWait(std::move(*permit), *id, fakes::TestVault::Caller(),
                                        "Credentials.Reveal", vault.Store(), vault.Trail());
  if (!release || !rpc::WriteRevealResponse(std::move(*release))) std::abort();
}

void EchoOnce(const std::string& bytes, const std::string& data) {
  const v1::RevealRequest request = Decoded(bytes);
  EchoReply reply;
  reply.set_data(data);
  grpc::ByteBuffer buffer;
  bool owned = false;
  if (!grpc::SerializationTraits<EchoReply>::Serialize(reply, &buffer, &owned).ok()) std::abort();
}

int Run(std::string_view what, std::size_t times) {
  fakes::TestVault vault(fakes::TestVault::On::kDisk);
  for (std::size_t number = 0; number < kCredentials; ++number) {
    vault.Put(IdOf(number), DataOf(number, kDataBytes));
  }
  const access::GrantTable grants(
      {{std::string(fakes::kRunner), "acme", "sheets", {access::Right::kReveal}}});
  const std::string data(kReplyBytes, 'r');
  for (std::size_t number = 0; number < times; ++number) {
    const std::string bytes = RequestBytes(vault, number);
    if (what == "reveal") RevealOnce(vault, bytes, grants);
    if (what == "echo") EchoOnce(bytes, data);
  }
  return 0;
}

}  // namespace
}  // namespace oauthvault::bench

int main(int count, char** words) {
  if (count != 3) return 1;
  return oauthvault::bench::Run(words[1], std::stoul(words[2]));
}
