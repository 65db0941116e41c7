#include "daemon/registry/tokens.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "crypto/fields.h"
#include "crypto/slots.h"
#include "daemon/registry/components.h"
#include "daemon/registry/projects.h"
#include "tests/daemon/acts.h"
#include "tests/storage/memory_engine.h"
#include "tests/storage/temporary_folder.h"

namespace oauthvault::registry {
namespace {

using access::Right;

constexpr std::int64_t kNow = 1'800'000'000;

class TokensTest : public testing::Test {
 protected:
  TokensTest() {
    EXPECT_TRUE(crypto::Prepare());
    auto made = crypto::Keyring::Create(folder_.Path() / "keys", crypto::NewSlotSecret(), "slot");
    EXPECT_TRUE(made);
    keyring_ = std::move(*made);
    store_ = std::make_unique<storage::Store>(engine_, *keyring_);
    EXPECT_TRUE(AddProject(*keyring_, *store_, project_, "", fakes::SetupAct(), kNow));
    EXPECT_TRUE(SetComponent(*store_, component_, {}, IfRegistered::kRefuse, fakes::SetupAct(),
                             kNow));
    tokens_ = std::make_unique<Tokens>(*store_, *keyring_);
  }

  Result<IssuedToken> Issue(const NewToken& wanted) {
    return tokens_->Issue(wanted, fakes::SetupAct(), kNow);
  }
  std::string MustIssue(const NewToken& wanted) {
    auto issued = Issue(wanted);
    EXPECT_TRUE(issued) << issued.error().Message();
    return issued->text.Bytes().Expose([](std::span<const std::uint8_t> bytes) {
      return std::string(crypto::AsField(bytes));
    });
  }
  static NewToken OnPair(std::vector<Right> rights = {Right::kStore, Right::kDescribe}) {
    return {"ann@acme.example", "p1", "acme.ex-drive", std::move(rights), 0};
  }

  const ProjectId project_ = *ProjectId::Parse("p1");
  const ComponentId component_ = *ComponentId::Parse("acme.ex-drive");
  const storage::TemporaryFolder folder_;
  fakes::MemoryEngine engine_;
  std::unique_ptr<crypto::Keyring> keyring_;
  std::unique_ptr<storage::Store> store_;
  std::unique_ptr<Tokens> tokens_;
};

TEST_F(TokensTest, AToken_IsRecognizedWithTheRightsThatItCarriesAndNoOthers) {
  const std::string text = MustIssue(OnPair());
  EXPECT_EQ(text.size(), kTokenSize);
  EXPECT_TRUE(text.starts_with("ovt_"));
  const auto holder = tokens_->Recognize(text, kNow + 1);
  ASSERT_TRUE(holder) << holder.error().Message();
  EXPECT_EQ(holder->principal.Str(), "token/" + holder->token.id.Str());
  EXPECT_EQ(holder->token.expires_at_s, kNow + kDefaultTokenTtlS);
  const auto may = [&](Right right, const char* project, const char* component) {
    return access::Decide(holder->principal, right, {project, component}, holder->rights)
        .has_value();
  };
  EXPECT_TRUE(may(Right::kStore, "p1", "acme.ex-drive"));
  EXPECT_TRUE(may(Right::kDescribe, "p1", "acme.ex-drive"));
  EXPECT_FALSE(may(Right::kEncrypt, "p1", "acme.ex-drive"));
  EXPECT_FALSE(may(Right::kReveal, "p1", "acme.ex-drive"));
  EXPECT_FALSE(may(Right::kStore, "p1", "acme.ex-other"));
  EXPECT_FALSE(may(Right::kStore, "p2", "acme.ex-drive"));
  EXPECT_FALSE(may(Right::kRegister, "", ""));
}

TEST_F(TokensTest, AManageToken_HoldsRegisterOnly) {
  const auto holder = tokens_->Recognize(MustIssue({"", "", "", {Right::kRegister}, 60}), kNow);
  ASSERT_TRUE(holder);
  EXPECT_EQ(holder->principal.GetKind(), access::Kind::kManageToken);
  for (const Right right : {Right::kStore, Right::kDescribe, Right::kReveal, Right::kEncrypt,
                            Right::kConnect, Right::kOperate, Right::kAudit}) {
    EXPECT_FALSE(access::Decide(holder->principal, right, {"p1", "acme.ex-drive"}, holder->rights))
        << access::NameOf(right);
  }
  EXPECT_TRUE(access::Decide(holder->principal, Right::kRegister, {}, holder->rights));
}

TEST_F(TokensTest, AToken_EndsWithItsTimeAndWithItsRevocation) {
  const std::string short_one = MustIssue({"", "p1", "*", {Right::kStore}, kMinTokenTtlS});
  EXPECT_TRUE(tokens_->Recognize(short_one, kNow + kMinTokenTtlS - 1));
  const auto late = tokens_->Recognize(short_one, kNow + kMinTokenTtlS);
  ASSERT_FALSE(late);
  const std::string revoked = MustIssue(OnPair());
  const TokenId id = tokens_->Recognize(revoked, kNow)->token.id;
  ASSERT_TRUE(tokens_->Revoke(id, fakes::SetupAct()));
  const auto gone = tokens_->Recognize(revoked, kNow);
  ASSERT_FALSE(gone);
  const auto never = tokens_->Recognize("ovt_" + std::string(64, '0'), kNow);
  ASSERT_FALSE(never);
  const auto other_form = tokens_->Recognize("Bearer x", kNow);
  ASSERT_FALSE(other_form);
  for (const auto* refused : {&late, &gone, &never, &other_form}) {
    EXPECT_EQ(refused->error().GetCode(), Code::kUnauthenticated);
    EXPECT_EQ(refused->error().Message(), never.error().Message());
  }
  EXPECT_EQ(tokens_->Revoke(id, fakes::SetupAct()).error().GetCode(), Code::kNotFound);
}

TEST_F(TokensTest, Issue_RefusesWhatATokenMustNotHold) {
  const std::vector<std::pair<NewToken, Code>> refused = {
      {OnPair({Right::kReveal}), Code::kInvalid},
      {OnPair({Right::kStore, Right::kReveal}), Code::kInvalid},
      {OnPair({Right::kRegister}), Code::kInvalid},
      {OnPair({Right::kOperate}), Code::kInvalid},
      {OnPair({}), Code::kInvalid},
      {OnPair({Right::kStore, Right::kStore}), Code::kInvalid},
      {{"", "", "", {Right::kStore}, 0}, Code::kInvalid},
      {{"", "", "", {Right::kRegister, Right::kOperate}, 0}, Code::kInvalid},
      {{"", "", "acme.ex-drive", {Right::kRegister}, 0}, Code::kInvalid},
      {{"", "*", "*", {Right::kStore}, 0}, Code::kInvalid},
      {{"", "p1", "", {Right::kStore}, 0}, Code::kInvalid},
      {{"", "p2", "*", {Right::kStore}, 0}, Code::kNotFound},
      {{"", "p1", "acme.ex-other", {Right::kStore}, 0}, Code::kNotFound},
      {{"", "p1", "*", {Right::kStore}, kMinTokenTtlS - 1}, Code::kInvalid},
      {{"", "p1", "*", {Right::kStore}, kMaxTokenTtlS + 1}, Code::kInvalid},
      {{"a\nb", "p1", "*", {Right::kStore}, 0}, Code::kInvalid},
  };
  for (const auto& [wanted, code] : refused) {
    const auto issued = Issue(wanted);
    ASSERT_FALSE(issued) << wanted.project << " " << wanted.component;
    EXPECT_EQ(issued.error().GetCode(), code) << issued.error().Message();
  }
}

TEST_F(TokensTest, AProjectAndAComponent_StayWhileATokenNamesThem) {
  const std::string text = MustIssue(OnPair());
  EXPECT_EQ(RemoveProject(*store_, project_, fakes::SetupAct()).error().GetCode(),
            Code::kConflict);
  EXPECT_EQ(RemoveComponent(*store_, component_, fakes::SetupAct()).error().GetCode(),
            Code::kConflict);
  ASSERT_TRUE(tokens_->Revoke(tokens_->Recognize(text, kNow)->token.id, fakes::SetupAct()));
  EXPECT_TRUE(RemoveProject(*store_, project_, fakes::SetupAct()));
  EXPECT_TRUE(RemoveComponent(*store_, component_, fakes::SetupAct()));
}

TEST_F(TokensTest, RemoveOf_LeavesThoseOfOthersAndSoonestExpiryPassesOverWhatHasEnded) {
  EXPECT_EQ(*tokens_->SoonestExpiry(kNow), 0);
  const std::string manage = MustIssue({"", "", "", {Right::kRegister}, 1000});
  MustIssue({"", "p1", "*", {Right::kStore}, 100});
  MustIssue(OnPair());
  EXPECT_EQ(*tokens_->SoonestExpiry(kNow), kNow + 100);
  EXPECT_EQ(*tokens_->SoonestExpiry(kNow + 100), kNow + 1000);
  EXPECT_EQ(*tokens_->RemoveOf(project_, fakes::SetupAct()), 2U);
  EXPECT_TRUE(tokens_->Recognize(manage, kNow));
  EXPECT_EQ(*tokens_->RemoveAll(fakes::SetupAct()), 1U);
  EXPECT_FALSE(tokens_->Recognize(manage, kNow));
}

}  // namespace
}  // namespace oauthvault::registry
