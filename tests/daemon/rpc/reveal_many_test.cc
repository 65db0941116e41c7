// Credentials.RevealMany over the wire: its limits, its order, its lines, and all the ways in which
// it reveals nothing.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <latch>
#include <nlohmann/json.hpp>

#include "daemon/rpc/secret_reply.h"
#include "tests/daemon/acts.h"
#include "tests/daemon/rpc/vault_fixture.h"

namespace oauthvault::rpc {
namespace {

using access::Right;

constexpr char kRevealMany[] = "/oauthvault.v1.Credentials/RevealMany";

class RevealManyTest : public testing::Test {
 protected:
  RevealManyTest() {
    vault_.Grant("runner/r", kProject, kComponent, {Right::kReveal});
    channel_ = vault_.Tcp(vault_.Issue("runner/r"));
    EXPECT_TRUE(channel_->WaitForConnected(std::chrono::system_clock::now() + kPatience));
  }

  static std::string RequestFor(const std::vector<std::string>& ids,
                                const std::string& project = kProject) {
    v1::RevealManyRequest request;
    request.set_project(project);
    request.set_component(kComponent);
    for (const std::string& id : ids) request.add_ids(id);
    return request.SerializeAsString();
  }
  RawAnswer Call(const std::vector<std::string>& ids) {
    return CallRaw(channel_, kRevealMany, RequestFor(ids));
  }
  // `count` ids, with credentials of this size behind them.
  std::vector<std::string> PutSeveral(int count, std::size_t data_size) {
    std::vector<std::string> ids;
    for (int i = 0; i < count; ++i) {
      ids.push_back("id-" + std::to_string(i));
      vault_.PutCredentials(kProject, kComponent, ids.back(), std::string(data_size, 'd'));
    }
    return ids;
  }
  static v1::RevealManyResponse Parsed(const RawAnswer& answer) {
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    v1::RevealManyResponse response;
    EXPECT_TRUE(response.ParseFromString(answer.bytes));
    return response;
  }
  std::vector<nlohmann::json> LinesAfter(std::uint64_t sequence) {
    std::vector<nlohmann::json> lines;
    for (const std::string& line : vault_.LinesAfter(sequence)) {
      lines.push_back(nlohmann::json::parse(line, nullptr, false));
    }
    return lines;
  }

  Vault vault_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(RevealManyTest, AnswersEveryIdInTheOrderThatWasAsked) {
  vault_.PutCredentials(kProject, kComponent, "a", "{\"n\":1}");
  vault_.PutCredentials(kProject, kComponent, "b", "{\"n\":2}");
  const std::uint64_t lines = vault_.Trail().LastSequence();
  const v1::RevealManyResponse response = Parsed(Call({"b", "absent", "a"}));
  ASSERT_EQ(response.items_size(), 3);
  EXPECT_EQ(response.items(0).id(), "b");
  EXPECT_EQ(response.items(0).credentials().data(), "{\"n\":2}");
  EXPECT_EQ(response.items(1).id(), "absent");
  EXPECT_FALSE(response.items(1).has_credentials());
  EXPECT_EQ(response.items(1).code(), "NOT_FOUND");
  EXPECT_EQ(response.items(2).id(), "a");
  EXPECT_EQ(response.items(2).credentials().id(), "a");
  EXPECT_EQ(response.items(2).credentials().app_secret(), "component-secret");
  const auto left = LinesAfter(lines);
  ASSERT_EQ(left.size(), 3u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(left[i].at("oauth_id"), response.items(i).id());
    EXPECT_EQ(left[i].at("act"), "Credentials.RevealMany");
    EXPECT_EQ(left[i].at("outcome"), i == 1 ? "failed" : "allowed");
    EXPECT_EQ(left[i].at("request_id"), left[0].at("request_id"));
  }
}

TEST_F(RevealManyTest, OneItemIsWhatRevealGives) {
  vault_.PutCredentials(kProject, kComponent, "a", "{\"n\":1}");
  const v1::RevealManyResponse response = Parsed(Call({"a"}));
  ASSERT_EQ(response.items_size(), 1);
  EXPECT_EQ(response.items(0).credentials().SerializeAsString(),
            Reveal(channel_, "a").response.SerializeAsString());
}

TEST_F(RevealManyTest, TakesOneTo64IdsEachOnce) {
  std::vector<std::string> ids = PutSeveral(65, 10);
  const std::uint64_t lines = vault_.Trail().LastSequence();
  const std::uint64_t reads = vault_.Engine().ReadCount();
  EXPECT_EQ(Call(ids).code, "INVALID");
  EXPECT_EQ(Call({}).code, "INVALID");
  EXPECT_EQ(Call({"id-1", "id-2", "id-1"}).code, "INVALID");
  EXPECT_EQ(Call({"id-1", "no id"}).code, "INVALID");
  EXPECT_EQ(vault_.Engine().ReadCount(), reads);
  EXPECT_EQ(vault_.Trail().LastSequence(), lines) << "nothing was decided";
  ids.pop_back();
  EXPECT_EQ(Parsed(Call(ids)).items_size(), 64);
  EXPECT_EQ(vault_.Trail().LastSequence(), lines + 64);
}

TEST_F(RevealManyTest, OfManySizes_IsTheMessageWithinTheLimitAndRefusedBeyondIt) {
  constexpr std::size_t kData = 60'000;
  PutSeveral(4, kData);
  vault_.PutCredentials(kProject, kComponent, "rest", std::string(1, 'r'));
  const std::vector<std::string> ids = {"id-0", "id-1", "id-2", "id-3", "rest"};
  const RawAnswer small = Call(ids);
  ASSERT_TRUE(small.status.ok());
  // Two more bytes of length where the last one's data has 128 bytes and more, in each of the
  // three messages that it stands in.
  const std::size_t room = kMaxRevealManySize - small.bytes.size() - 6;
  std::size_t fitted = 0;
  for (std::size_t size = room - 8; size <= room + 16; ++size) {
    vault_.PutCredentials(kProject, kComponent, "rest", std::string(size, 'r'));
    const std::uint64_t lines = vault_.Trail().LastSequence();
    const RawAnswer answer = Call(ids);
    if (answer.status.ok()) {
      EXPECT_LE(answer.bytes.size(), kMaxRevealManySize);
      fitted = std::max(fitted, answer.bytes.size());
      EXPECT_TRUE(Parsed(answer).SerializeAsString() == answer.bytes);
      continue;
    }
    EXPECT_EQ(answer.code, "EXHAUSTED");
    EXPECT_NE(answer.status.error_message().find("262144"), std::string::npos)
        << answer.status.error_message();
    EXPECT_EQ(answer.bytes, "");
    const auto left = LinesAfter(lines);
    ASSERT_EQ(left.size(), 1u) << "nothing was revealed";
    EXPECT_EQ(left[0].at("outcome"), "failed");
    EXPECT_FALSE(left[0].contains("oauth_id"));
  }
  EXPECT_EQ(fitted, kMaxRevealManySize);
  EXPECT_FALSE(Call(ids).status.ok());
}

TEST_F(RevealManyTest, TheLinesAreThereBeforeTheAnswer) {
  const std::vector<std::string> ids = PutSeveral(8, 10);
  ASSERT_TRUE(Ask(channel_).ok());
  std::latch go_on(1);
  std::atomic<bool> writing = false;
  vault_.before_write = [&] {
    writing = true;
    writing.notify_all();
    go_on.wait();
  };
  auto answer = std::async(std::launch::async, [&] { return Call(ids); });
  writing.wait(false);
  EXPECT_EQ(answer.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  const std::uint64_t lines = vault_.Trail().LastSequence();
  go_on.count_down();
  EXPECT_EQ(Parsed(answer.get()).items_size(), 8);
  EXPECT_EQ(vault_.Trail().LastSequence(), lines + 8);
  vault_.before_write = nullptr;
}

TEST_F(RevealManyTest, ATrailThatCannotBeWritten_LetsNothingOut) {
  const std::vector<std::string> ids = PutSeveral(8, 10);
  vault_.disk_full = true;
  const RawAnswer answer = Call(ids);
  EXPECT_EQ(answer.code, "UNAVAILABLE");
  EXPECT_EQ(answer.bytes, "");
  vault_.disk_full = false;
}

TEST_F(RevealManyTest, WithoutTheRight_LeavesOneLineAndReadsNoRow) {
  const std::vector<std::string> ids = PutSeveral(3, 10);
  vault_.RemoveGrant("runner/r", kProject, kComponent);
  vault_.Grant("runner/r", kProject, kComponent, {Right::kDescribe});
  const std::uint64_t reads = vault_.Engine().ReadCount();
  const std::uint64_t lines = vault_.Trail().LastSequence();
  EXPECT_EQ(Call(ids).code, "DENIED");
  EXPECT_EQ(vault_.Engine().ReadCount(), reads);
  const auto left = LinesAfter(lines);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0].at("outcome"), "denied");
}

TEST_F(RevealManyTest, AnotherPairsCredentials_AreNotFound) {
  vault_.AddProject("p2");
  vault_.PutCredentials("p2", kComponent, "a", "{}");
  const v1::RevealManyResponse response = Parsed(Call({"a"}));
  ASSERT_EQ(response.items_size(), 1);
  EXPECT_EQ(response.items(0).code(), "NOT_FOUND");
  EXPECT_EQ(CallRaw(channel_, kRevealMany, RequestFor({"a"}, "p2")).code, "DENIED");
}

// A damaged secret shows only when it is opened, behind the lines: its place in the answer was
// already laid out.
TEST_F(RevealManyTest, CredentialsWhoseSecretIsDamaged_HaveACodeBetweenTheOthers) {
  const std::vector<std::string> ids = PutSeveral(3, 300);
  const auto names = storage::Credentials::Names(
      *ProjectId::Parse(kProject), *ComponentId::Parse(kComponent), *OauthId::Parse("id-1"));
  auto stored = vault_.Store().Get<storage::Credentials>(names);
  ASSERT_TRUE(stored);
  std::vector<std::uint8_t> bytes(stored->sealed.Bytes().begin(), stored->sealed.Bytes().end());
  bytes.back() ^= 1;
  std::vector<storage::Change> changes;
  changes.push_back({stored->key, {}, std::move(*crypto::SealedRow::Parse(bytes))});
  ASSERT_TRUE(vault_.Engine().Commit(std::move(changes), fakes::SetupActBytes()));
  const RawAnswer answer = Call(ids);
  const v1::RevealManyResponse response = Parsed(answer);
  EXPECT_TRUE(response.SerializeAsString() == answer.bytes);
  ASSERT_EQ(response.items_size(), 3);
  EXPECT_EQ(response.items(0).credentials().data(), std::string(300, 'd'));
  EXPECT_EQ(response.items(1).id(), "id-1");
  EXPECT_EQ(response.items(1).code(), "CORRUPT");
  EXPECT_EQ(response.items(2).credentials().data(), std::string(300, 'd'));
  EXPECT_EQ(response.items(2).credentials().app_secret(), "component-secret");
}

}  // namespace
}  // namespace oauthvault::rpc
