// The bytes that are written by hand are those of the contract: a generated message reads them and
// writes them again, and so does another language.

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <random>

#include "tests/daemon/rpc/vault_fixture.h"

namespace oauthvault::rpc {
namespace {

using access::Right;

constexpr char kReveal[] = "/oauthvault.v1.Credentials/Reveal";
constexpr char kInject[] = "/oauthvault.v1.Credentials/Inject";
const std::string kUnicode = "p\xc5\x99\xc3\xadli\xc5\xa1 \xe2\x82\xac \xf0\x9f\x94\x91";

// Valid UTF-8 of exactly this size, with multi-byte characters where they fit.
std::string TextOf(std::size_t size_bytes, std::mt19937& random) {
  static const std::string kPieces[] = {"a", "\"", "\\", "\n", "\x7f", "\xc3\xa9", "\xe2\x82\xac",
                                        "\xf0\x9f\x94\x91"};
  std::string text;
  while (text.size() < size_bytes) {
    const std::string& piece = kPieces[random() % std::size(kPieces)];
    if (text.size() + piece.size() <= size_bytes) text += piece;
  }
  return text;
}

class WireTest : public testing::Test {
 protected:
  WireTest() {
    vault_.Grant("runner/r", "*", "*", {Right::kStore, Right::kReveal});
    identity_ = vault_.Issue("runner/r");
    channel_ = vault_.Tcp(identity_);
  }

  static v1::StoreRequest RequestOf(const std::string& id, const std::string& data) {
    v1::StoreRequest request;
    request.set_project(kProject);
    request.set_component(kComponent);
    request.set_id(id);
    request.set_data(data);
    return request;
  }

  v1::CredentialsInfo Put(const v1::StoreRequest& request) {
    v1::CredentialsInfo info;
    const auto status =
        v1::Credentials::NewStub(channel_)->Store(NewContext().get(), request, &info);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return info;
  }

  // Reveals and checks that the bytes are those of the message.
  v1::RevealResponse RevealOf(const v1::StoreRequest& stored) {
    v1::RevealRequest request;
    request.set_project(stored.project());
    request.set_component(stored.component());
    request.set_id(stored.id());
    const RawAnswer answer = CallRaw(channel_, kReveal, request.SerializeAsString());
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    v1::RevealResponse response;
    EXPECT_TRUE(response.ParseFromString(answer.bytes));
    EXPECT_TRUE(response.SerializeAsString() == answer.bytes) << "of " << answer.bytes.size();
    EXPECT_EQ(response.GetReflection()->GetUnknownFields(response).field_count(), 0);
    return response;
  }

  Vault vault_;
  ClientIdentity identity_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(WireTest, Reveal_OfEverySize_IsTheMessage) {
  std::mt19937 random(20);
  for (const std::size_t size : {1u, 2u, 126u, 127u, 128u, 129u, 16'383u, 16'384u, 16'385u,
                                 65'535u, 65'536u}) {
    for (const std::size_t secret_size : {0u, 1u, 127u, 128u, 4'096u}) {
      v1::StoreRequest request = RequestOf("main", TextOf(size, random));
      request.set_authorized_for(secret_size == 1 ? "" : kUnicode);
      request.set_creator_description(secret_size == 1 ? "" : kUnicode);
      if (secret_size != 0) {
        request.set_app_key("own-key");
        request.set_app_secret(std::string(secret_size, 's'));
      }
      const v1::CredentialsInfo info = Put(request);
      const v1::RevealResponse response = RevealOf(request);
      EXPECT_EQ(response.id(), "main");
      EXPECT_EQ(response.authorized_for(), request.authorized_for());
      EXPECT_EQ(response.creator().id(), "spiffe://vault.test/runner/r");
      EXPECT_EQ(response.creator().description(), request.creator_description());
      EXPECT_EQ(response.created(), info.created());
      EXPECT_EQ(response.created().size(), 19u);
      EXPECT_TRUE(response.data() == request.data()) << size;
      EXPECT_EQ(response.oauth_version(), "2.0");
      EXPECT_EQ(response.app_key(), secret_size == 0 ? "component-key" : "own-key");
      EXPECT_EQ(response.app_secret(),
                secret_size == 0 ? "component-secret" : request.app_secret());
      EXPECT_EQ(response.version(), info.version());
    }
  }
}

TEST_F(WireTest, Reveal_WithoutAnAppSecret_LeavesTheFieldOut) {
  vault_.AddComponent("acme.no-secret", "");
  v1::StoreRequest request = RequestOf("main", "{}");
  request.set_component("acme.no-secret");
  Put(request);
  EXPECT_EQ(RevealOf(request).app_secret(), "");
}

TEST_F(WireTest, Reveal_OfAVersionWithManyBits_IsTheMessage) {
  const v1::StoreRequest request = RequestOf("main", "{}");
  for (int i = 0; i < 130; ++i) Put(request);
  EXPECT_EQ(RevealOf(request).version(), 130u);
}

TEST_F(WireTest, Inject_OfEverySize_IsTheMessage) {
  std::mt19937 random(21);
  for (const std::size_t size : {1u, 127u, 128u, 16'384u, 65'536u}) {
    Put(RequestOf("main", TextOf(size, random)));
    for (const std::string& configuration :
         {std::string("{}"), std::string(R"({"authorization":{"oauth_api":{"id":"main"}}})"),
          "{\"parameters\":\"" + std::string(size, 'x') +
              R"(","authorization":{"oauth_api":{"id":"main"}}})"}) {
      v1::InjectRequest request;
      request.set_project(kProject);
      request.set_component(kComponent);
      request.set_configuration(configuration);
      const RawAnswer answer = CallRaw(channel_, kInject, request.SerializeAsString());
      ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
      v1::InjectResponse response;
      ASSERT_TRUE(response.ParseFromString(answer.bytes));
      EXPECT_TRUE(response.SerializeAsString() == answer.bytes) << size;
      EXPECT_FALSE(response.configuration().empty());
    }
  }
}

void WriteFile(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

TEST_F(WireTest, APythonClientOfTheContract_ReadsTheSameBytes) {
  std::mt19937 random(22);
  v1::StoreRequest request = RequestOf("main", TextOf(65'536, random));
  request.set_authorized_for(kUnicode);
  request.set_app_key("own-key");
  request.set_app_secret(TextOf(300, random));
  Put(request);
  const std::filesystem::path folder = vault_.Folder() / "python";
  std::filesystem::create_directory(folder);
  WriteFile(folder / "ca.pem", vault_.CaPem());
  WriteFile(folder / "client.pem", identity_.certificate_pem);
  WriteFile(folder / "client.key", identity_.key_pem);
  WriteFile(folder / "data", request.data());
  WriteFile(folder / "app_secret", request.app_secret());
  WriteFile(folder / "authorized_for", request.authorized_for());
  const std::string proto = OAUTHVAULT_SOURCE_DIR "/proto";
  const std::string stubs =
      "/usr/bin/protoc --plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin -I " + proto +
      " --python_out=" + folder.string() + " --grpc_python_out=" + folder.string() + " " + proto +
      "/oauthvault/v1/access.proto " + proto + "/oauthvault/v1/credentials.proto";
  ASSERT_EQ(std::system(stubs.c_str()), 0);
  const std::string client = "/usr/bin/python3 -B " OAUTHVAULT_SOURCE_DIR
                             "/tests/daemon/rpc/reveal_client.py " +
                             folder.string() + " " + vault_.Address() + " " + kProject + " " +
                             kComponent + " main";
  EXPECT_EQ(std::system(client.c_str()), 0);
}

}  // namespace
}  // namespace oauthvault::rpc
