#include "daemon/custody/sealed_value.h"

#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/unlocker.h"
#include "daemon/custody/sealed_copy.h"
#include "daemon/upkeep/shredding.h"
#include "tests/crypto/hex.h"
#include "tests/daemon/custody/test_vault.h"

namespace oauthvault::custody {
namespace {

using access::Right;
using fakes::BytesOf;
using fakes::TextOf;

constexpr std::string_view kPlain = R"("canary")";

class CustodySealedValue : public testing::Test {
 protected:
  CustodySealedValue() {
    EXPECT_TRUE(vault_.Keys().EnsureKek(crypto::Owner::Component("sheets")));
    EXPECT_TRUE(vault_.Keys().EnsureKek(crypto::Owner::Component("plain")));
  }

  static ValueContext Context(std::string_view project, std::string_view component,
                              std::string_view configuration = "",
                              std::optional<BranchType> branch_type = {}) {
    ValueContext context{*ProjectId::Parse(project), *ComponentId::Parse(component), {},
                         branch_type};
    if (!configuration.empty()) context.configuration = *ConfigurationId::Parse(configuration);
    return context;
  }
  const ValueContext whole_ = Context("acme", "sheets", "c-1", BranchType::kDev);

  std::string Sealed(ValueScope scope) {
    auto sealed = SealValue(vault_.Keys(), scope, whole_, BytesOf(kPlain));
    EXPECT_TRUE(sealed) << sealed.error().Message();
    return sealed ? *sealed : std::string();
  }
  bool Opens(std::string_view sealed, const ValueContext& context) {
    const auto opened = OpenValue(vault_.Keys(), context, sealed);
    if (!opened) return false;
    EXPECT_EQ(TextOf(*opened), kPlain);
    return true;
  }
  void ExpectTheOneError(std::string_view sealed, const ValueContext& context) {
    const auto opened = OpenValue(vault_.Keys(), context, sealed);
    ASSERT_FALSE(opened) << sealed;
    EXPECT_EQ(opened.error().GetCode(), Code::kInvalid);
    EXPECT_EQ(opened.error().Message(),
              "a sealed value does not open here: it is damaged, or was sealed for another "
              "component, project, configuration or branch type");
  }

  fakes::TestVault vault_;
};

constexpr std::array kScopes{ValueScope::kComponent, ValueScope::kProject,
                             ValueScope::kConfiguration, ValueScope::kProjectWide,
                             ValueScope::kBranchType};

TEST_F(CustodySealedValue, AWiderScope_OpensInANarrowerContext_AndNeverTheOtherWay) {
  struct Row {
    std::string_view project, component, configuration;
    std::optional<BranchType> branch_type;
    std::string_view opens;  // by the order of kScopes
  };
  const Row rows[] = {
      //                                              C P c w b
      {"acme", "sheets", "c-1", BranchType::kDev,     "YYYYY"},
      {"acme", "sheets", "c-1", {},                   "YYYYn"},
      {"acme", "sheets", "", BranchType::kDev,        "YYnYY"},
      {"acme", "sheets", "", {},                      "YYnYn"},
      {"acme", "sheets", "c-2", BranchType::kDefault, "YYnYn"},
      {"acme", "plain", "c-1", BranchType::kDev,      "nnnYn"},
      {"other", "sheets", "c-1", BranchType::kDev,    "Ynnnn"},
      {"other", "plain", "c-1", BranchType::kDev,     "nnnnn"},
      {"sheets", "acme", "c-1", BranchType::kDev,     "nnnnn"},
  };
  for (const Row& row : rows) {
    const ValueContext context =
        Context(row.project, row.component, row.configuration, row.branch_type);
    for (std::size_t i = 0; i < kScopes.size(); ++i) {
      const std::string sealed = Sealed(kScopes[i]);
      EXPECT_EQ(Opens(sealed, context), row.opens[i] == 'Y')
          << row.project << ' ' << row.component << ' ' << row.configuration << ' ' << i;
      if (row.opens[i] != 'Y') ExpectTheOneError(sealed, context);
    }
  }
}

TEST_F(CustodySealedValue, SealValue_NeedsTheNamesOfItsScope) {
  EXPECT_FALSE(SealValue(vault_.Keys(), ValueScope::kConfiguration, Context("acme", "sheets"),
                         BytesOf("1")));
  EXPECT_FALSE(
      SealValue(vault_.Keys(), ValueScope::kBranchType, Context("acme", "sheets"), BytesOf("1")));
}

TEST_F(CustodySealedValue, SealedTextSize_IsTheSizeOfTheText) {
  for (const ValueScope scope : kScopes) {
    for (std::size_t size = 0; size < 10; ++size) {
      const auto sealed =
          SealValue(vault_.Keys(), scope, whole_, BytesOf(std::string(size, 'x')));
      ASSERT_TRUE(sealed);
      EXPECT_EQ(sealed->size(), SealedTextSize(scope, size));
      EXPECT_TRUE(IsSealedValue(*sealed));
    }
  }
}

TEST_F(CustodySealedValue, AnyChangeOfAValue_IsRefusedWithOneErrorThatDoesNotEchoIt) {
  const std::uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_ \n\"\\";
  for (const ValueScope scope : kScopes) {
    const std::string sealed = Sealed(scope);
    const std::size_t begin = sealed.rfind("::") + 2;
    for (std::size_t at = begin; at < sealed.size(); ++at) {
      std::string changed = sealed;
      while (changed[at] == sealed[at]) changed[at] = kAlphabet[random() % kAlphabet.size()];
      ExpectTheOneError(changed, whole_);
      ExpectTheOneError(sealed.substr(0, at), whole_);
    }
    ExpectTheOneError(sealed + "=", whole_);
    ExpectTheOneError(sealed + "AAAA", whole_);
    ExpectTheOneError(sealed + sealed.substr(begin), whole_);
    // Under another prefix it is another value.
    for (const std::string prefix : {"Component", "Project", "Config", "ProjectWide",
                                     "BranchType"}) {
      const std::string moved = "KBC::" + prefix + "Secure::" + sealed.substr(begin);
      if (moved != sealed) ExpectTheOneError(moved, whole_);
    }
  }
}

// A configuration may be called as a type of branch is: then both scopes have the same names.
TEST_F(CustodySealedValue, AValue_OpensUnderThePrefixOfItsOwnScopeOnly) {
  const ValueContext alike = Context("acme", "sheets", "dev", BranchType::kDev);
  const auto sealed = SealValue(vault_.Keys(), ValueScope::kConfiguration, alike, BytesOf(kPlain));
  ASSERT_TRUE(sealed);
  EXPECT_TRUE(Opens(*sealed, alike));
  ExpectTheOneError("KBC::BranchTypeSecure::" + sealed->substr(sealed->rfind("::") + 2), alike);
}

TEST_F(CustodySealedValue, AValueOfAnotherCloudOrALegacyForm_IsSaidToBeOfAnotherVault) {
  for (const std::string prefix :
       {"KBC::ComponentSecureKV::", "KBC::ProjectSecureGKMS::", "KBC::BranchTypeSecureKV::",
        "KBC::Encrypted==", "KBC::ComponentEncrypted==", "KBC::ComponentProjectEncrypted=="}) {
    const auto opened = OpenValue(vault_.Keys(), whole_, prefix + "canary");
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().GetCode(), Code::kInvalid);
    EXPECT_EQ(opened.error().Message(),
              "a sealed value is of another vault: this one opens only what it sealed itself");
  }
}

TEST_F(CustodySealedValue, AValueOfAnotherVault_DoesNotOpen) {
  const fakes::TestVault stranger;
  const auto foreign = SealValue(const_cast<fakes::TestVault&>(stranger).Keys(),
                                 ValueScope::kProject, whole_, BytesOf(kPlain));
  ASSERT_TRUE(foreign);
  ExpectTheOneError(*foreign, whole_);
}

TEST_F(CustodySealedValue, WhatWasSealedBeforeARotation_OpensAfterIt_UntilTheProjectIsShredded) {
  std::vector<std::string> before;
  for (const ValueScope scope : kScopes) before.push_back(Sealed(scope));
  vault_.Put("one", "canary");
  const auto copy = SealedCopy(vault_.PermitFor(Right::kDescribe), vault_.IdOf("one"),
                               vault_.Store());
  ASSERT_TRUE(copy);
  before.push_back(TextOf(copy->data.Bytes()));
  for (const crypto::Owner& owner :
       {crypto::Owner::Project("acme"), crypto::Owner::Component("sheets"),
        crypto::Owner::Vault()}) {
    ASSERT_TRUE(vault_.Keys().RotateKek(owner));
    ASSERT_TRUE(vault_.Store().Rewrap(owner, "", 500, fakes::SetupAct()));
  }
  ASSERT_TRUE(vault_.Keys().RotateRoot());
  vault_.Reopen();
  for (const std::string& sealed : before) EXPECT_TRUE(Opens(sealed, whole_));
  for (const ValueScope scope : kScopes) EXPECT_TRUE(Opens(Sealed(scope), whole_));

  ASSERT_TRUE(upkeep::ShredProject(vault_.Keys(), vault_.Store(), vault_.Grants(), vault_.project,
                                   fakes::SetupAct(), fakes::kVaultNow));
  EXPECT_TRUE(Opens(before[0], whole_)) << "the component's own";
  for (std::size_t i = 1; i < before.size(); ++i) ExpectTheOneError(before[i], whole_);
}

class CustodySealedCopy : public CustodySealedValue {
 protected:
  EightKeys Copy(std::string_view id) {
    auto copy = SealedCopy(vault_.PermitFor(Right::kDescribe), vault_.IdOf(id), vault_.Store());
    EXPECT_TRUE(copy) << copy.error().Message();
    return copy ? std::move(*copy) : EightKeys{};
  }
};

TEST_F(CustodySealedCopy, ACopy_OpensForItsProjectAndComponentOnly) {
  vault_.Put("one", "canary");
  const EightKeys copy = Copy("one");
  EXPECT_EQ(copy.id, "one");
  EXPECT_EQ(copy.app_key, fakes::kComponentClient);
  const std::string data = TextOf(copy.data.Bytes());
  EXPECT_TRUE(data.starts_with("KBC::ProjectSecure::"));
  EXPECT_TRUE(Opens(data, Context("acme", "sheets")));
  for (const ValueContext& context : {Context("acme", "plain"), Context("other", "sheets")}) {
    ExpectTheOneError(data, context);
  }
  // The component's app secret is the component's, in each project.
  const std::string secret = TextOf(copy.app_secret.Bytes());
  EXPECT_TRUE(secret.starts_with("KBC::ComponentSecure::"));
  for (const std::string_view project : {"acme", "other"}) {
    const auto opened = OpenValue(vault_.Keys(), Context(project, "sheets"), secret);
    ASSERT_TRUE(opened);
    EXPECT_EQ(TextOf(*opened), '"' + std::string(fakes::kComponentSecret) + '"');
  }
  ExpectTheOneError(secret, Context("acme", "plain"));
}

TEST_F(CustodySealedCopy, ACopy_OpensAfterTheCredentialsWereReplacedAndDeleted) {
  vault_.Put("one", "canary");
  const std::string first = TextOf(Copy("one").data.Bytes());
  vault_.Put("one", "another");
  EXPECT_TRUE(Opens(first, Context("acme", "sheets")));
  ASSERT_TRUE(Delete(vault_.PermitFor(Right::kStore), vault_.IdOf("one"), fakes::SetupAct(),
                     vault_.Store()));
  EXPECT_TRUE(Opens(first, Context("acme", "sheets")));
}

TEST_F(CustodySealedCopy, ACopy_OfCredentialsWithAnAppOfTheirOwn_HoldsThatSecret) {
  NewCredentials credentials{.id = vault_.IdOf("own")};
  credentials.data = crypto::CredentialsData(BytesOf("data"));
  credentials.app_key = "own-client";
  credentials.app_secret = crypto::AppSecret(BytesOf("canary"));
  ASSERT_TRUE(Put(vault_.PermitFor(Right::kStore), std::move(credentials), IfThere::kRefuse,
                  KeptVersions{}, fakes::SetupAct(), vault_.Store(), fakes::kVaultNow));
  const std::string secret = TextOf(Copy("own").app_secret.Bytes());
  EXPECT_TRUE(secret.starts_with("KBC::ProjectSecure::"));
  EXPECT_TRUE(Opens(secret, Context("acme", "sheets")));
  ExpectTheOneError(secret, Context("other", "sheets"));
}

TEST_F(CustodySealedCopy, ACopy_OfAnotherClientsCredentials_HasAnEmptyAppSecret) {
  NewCredentials credentials{.id = vault_.IdOf("rivery")};
  credentials.data = crypto::CredentialsData(BytesOf("data"));
  credentials.foreign_client_id = "rivery-client";
  ASSERT_TRUE(Put(vault_.PermitFor(Right::kStore), std::move(credentials), IfThere::kRefuse,
                  KeptVersions{}, fakes::SetupAct(), vault_.Store(), fakes::kVaultNow));
  EXPECT_TRUE(Copy("rivery").app_secret.Empty());
}

TEST_F(CustodySealedCopy, AnyChangeOfACopy_IsRefused) {
  vault_.Put("one", "canary");
  const EightKeys copy = Copy("one");
  for (const std::string& sealed :
       {TextOf(copy.data.Bytes()), TextOf(copy.app_secret.Bytes())}) {
    for (std::size_t at = sealed.rfind("::") + 2; at < sealed.size(); ++at) {
      std::string changed = sealed;
      changed[at] = changed[at] == 'A' ? 'B' : 'A';
      ExpectTheOneError(changed, whole_);
    }
  }
}

TEST_F(CustodySealedCopy, ACopy_NeedsAPermitToDescribe) {
  vault_.Put("one", "canary");
  for (const Right right : {Right::kReveal, Right::kStore, Right::kEncrypt}) {
    EXPECT_FALSE(SealedCopy(vault_.PermitFor(right), vault_.IdOf("one"), vault_.Store()));
  }
  EXPECT_FALSE(
      SealedCopy(vault_.PermitFor(Right::kDescribe), vault_.IdOf("two"), vault_.Store()));
}

// The format is frozen: texts that an earlier build wrote, with the keys file of their vault.
TEST(SealedValueGolden, WhatWasSealedEarlier_StillOpens) {
  ASSERT_TRUE(crypto::Prepare());
  int opened_values = 0;
  for (const crypto::Vector& golden : crypto::ReadVectors("golden/custody/sealed_values.txt")) {
    const storage::TemporaryFolder folder;
    const auto keys_file = crypto::FromHex(golden.at("keys file"));
    std::ofstream(folder.Path() / "keys", std::ios::binary)
        << std::string(keys_file.begin(), keys_file.end());
    std::filesystem::permissions(folder.Path() / "keys", std::filesystem::perms::owner_read |
                                                             std::filesystem::perms::owner_write);
    auto unlocker = crypto::Unlocker::Read(folder.Path() / "keys");
    ASSERT_TRUE(unlocker) << unlocker.error().Message();
    ASSERT_TRUE(unlocker->Give(BytesOf(golden.at("key file"))));
    const auto keys = unlocker->Take();
    ASSERT_TRUE(keys);
    ValueContext context{*ProjectId::Parse(golden.at("project")),
                         *ComponentId::Parse(golden.at("component")),
                         *ConfigurationId::Parse(golden.at("configuration")),
                         *ParseBranchType(golden.at("branch type"))};
    for (const auto& [name, text] : golden) {
      if (!name.starts_with("sealed ")) continue;
      const auto opened = OpenValue(**keys, context, text);
      ASSERT_TRUE(opened) << name << ": " << opened.error().Message();
      EXPECT_EQ(TextOf(*opened), golden.at("plain " + name.substr(7))) << name;
      ++opened_values;
    }
  }
  EXPECT_EQ(opened_values, 8);
}

}  // namespace
}  // namespace oauthvault::custody
