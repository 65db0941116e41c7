#include "daemon/custody/configuration.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/daemon/custody/generated_document.h"

namespace oauthvault::custody {
namespace {

using fakes::Generator;
using Json = nlohmann::ordered_json;
using Plan = Configuration::Plan;

Result<Configuration> Parse(std::string_view text) {
  return Configuration::Parse(crypto::SecretBytes::CopyOf(text));
}

std::string Plain(const crypto::SecretBytes& secret) {
  return secret.Expose([](std::span<const std::uint8_t> bytes) {
    return std::string(bytes.begin(), bytes.end());
  });
}

/// The whole of it, for documents that must parse.
Configuration Parsed(std::string_view text) {
  auto configuration = Parse(text);
  if (!configuration) {
    ADD_FAILURE() << configuration.error().Message() << " for " << text;
    return *Parse("{}");
  }
  return std::move(*configuration);
}

EightKeys Keys(std::string_view data, std::string_view app_secret) {
  return {.id = "main",
          .authorized_for = "Myself",
          .creator_id = "1234",
          .creator_description = "me@keboola.com",
          .created = "2016-01-31 00:13:30",
          .data = crypto::CredentialsData(crypto::SecretBytes::CopyOf(data)),
          .oauth_version = "2.0",
          .app_key = "w51u7j30oghe412",
          .app_secret = crypto::AppSecret(crypto::SecretBytes::CopyOf(app_secret))};
}

/// The credentials as another writer of JSON makes them.
Json Credentials(std::string_view data, std::string_view app_secret) {
  Json credentials;
  credentials["id"] = "main";
  credentials["authorizedFor"] = "Myself";
  credentials["creator"]["id"] = "1234";
  credentials["creator"]["description"] = "me@keboola.com";
  credentials["created"] = "2016-01-31 00:13:30";
  credentials["#data"] = std::string(data);
  credentials["oauthVersion"] = "2.0";
  credentials["appKey"] = "w51u7j30oghe412";
  credentials["#appSecret"] = std::string(app_secret);
  return credentials;
}

constexpr std::string_view kLookUp = R"({"authorization":{"oauth_api":{"id":"main"}}})";

struct Unchanged {
  std::string_view in;
  Plan plan;
  std::string_view out;
};

TEST(Configuration, Write_FollowsTheFourRulesInTheirOrder) {
  const Unchanged rows[] = {
      // 1: no authorization is written as an empty one.
      {R"({})", Plan::kNothing, R"({"authorization":{}})"},
      {R"({"a":1})", Plan::kNothing, R"({"a":1,"authorization":{}})"},
      {R"({"authorization":null,"a":1})", Plan::kNothing, R"({"authorization":{},"a":1})"},
      {R"({"authorization":[]})", Plan::kNothing, R"({"authorization":{}})"},
      {R"({"a":1,"authorization":{}})", Plan::kNothing, R"({"a":1,"authorization":{}})"},
      // 2: credentials that stand there are used, whatever they are, and the id is ignored.
      {R"({"authorization":{"oauth_api":{"credentials":{"#data":"{}","x":[1]}}}})", Plan::kBypass,
       R"({"authorization":{"oauth_api":{"credentials":{"#data":"{}","x":[1]}}}})"},
      {R"({"authorization":{"oauth_api":{"id":"main","version":3,"credentials":[]}}})",
       Plan::kBypass,
       R"({"authorization":{"oauth_api":{"id":"main","version":3,"credentials":[]}}})"},
      {R"({"authorization":{"oauth_api":{"id":7,"credentials":null}}})", Plan::kBypass,
       R"({"authorization":{"oauth_api":{"id":7,"credentials":null}}})"},
      {R"({"authorization":{"oauth_api":{"credentials":"","id":"a b"}}})", Plan::kBypass,
       R"({"authorization":{"oauth_api":{"credentials":"","id":"a b"}}})"},
      // 4: nothing that names credentials.
      {R"({"authorization":{"oauth_api":{}}})", Plan::kNothing,
       R"({"authorization":{"oauth_api":{}}})"},
      {R"({"authorization":{"oauth_api":[]}})", Plan::kNothing,
       R"({"authorization":{"oauth_api":[]}})"},
      {R"({"authorization":{"oauth_api":null}})", Plan::kNothing,
       R"({"authorization":{"oauth_api":null}})"},
      {R"({"authorization":{"oauth_api":{"version":3}}})", Plan::kNothing,
       R"({"authorization":{"oauth_api":{"version":3}}})"},
      // Elsewhere the words mean nothing.
      {R"({"parameters":{"authorization":{"oauth_api":{"id":"main"},"x":1}}})", Plan::kNothing,
       R"({"parameters":{"authorization":{"oauth_api":{"id":"main"},"x":1}},"authorization":{}})"},
      {R"({"oauth_api":{"id":"main","credentials":1}})", Plan::kNothing,
       R"({"oauth_api":{"id":"main","credentials":1},"authorization":{}})"},
  };
  for (const Unchanged& row : rows) {
    const Configuration configuration = Parsed(row.in);
    EXPECT_EQ(configuration.GetPlan(), row.plan) << row.in;
    EXPECT_FALSE(configuration.Id().has_value()) << row.in;
    EXPECT_EQ(Plain(configuration.Write(IdBeside::kKeep)), row.out);
  }
}

TEST(Configuration, WriteWith_PutsTheEightKeysInTheDocumentationsOrder) {
  const Configuration configuration = Parsed(R"({
    "storage": {"input": {"tables": []}},
    "authorization": {"oauth_api": {"id": "main", "version": 3}},
    "parameters": {"z": 1, "a": 2}
  })");
  ASSERT_EQ(configuration.GetPlan(), Plan::kLookUp);
  ASSERT_TRUE(configuration.Id().has_value());
  EXPECT_EQ(configuration.Id()->Str(), "main");
  const std::string credentials =
      R"("credentials":{"id":"main","authorizedFor":"Myself",)"
      R"("creator":{"id":"1234","description":"me@keboola.com"},"created":"2016-01-31 00:13:30",)"
      R"("#data":"{\"access_token\":\"t\"}","oauthVersion":"2.0","appKey":"w51u7j30oghe412",)"
      R"("#appSecret":"s"}}})";
  const EightKeys keys = Keys(R"({"access_token":"t"})", "s");
  EXPECT_EQ(Plain(configuration.WriteWith(keys, IdBeside::kKeep)),
            R"({"storage":{"input":{"tables":[]}},"authorization":{"oauth_api":{"id":"main",)"
            R"("version":3,)" +
                credentials + R"(,"parameters":{"z":1,"a":2}})");
  EXPECT_EQ(Plain(configuration.WriteWith(keys, IdBeside::kDrop)),
            R"({"storage":{"input":{"tables":[]}},"authorization":{"oauth_api":{)" + credentials +
                R"(,"parameters":{"z":1,"a":2}})");
}

TEST(Configuration, WriteWith_GivesTheSecretsBackByteForByte) {
  std::string all_ascii;
  for (int c = 0; c < 0x80; ++c) all_ascii.push_back(static_cast<char>(c));
  std::string large;
  while (large.size() < 64 * 1024) large += "\"\\\n\x01 token ";
  large.resize(64 * 1024);
  const std::string secrets[] = {
      "",
      R"({"access_token":"a","refresh_token":"b\"c"})",
      R"(\"\\/\u0041)",
      all_ascii,
      "caf\u00e9 \u20ac \U0001F511 \u2028\u2029 \u007f \uffff",
      std::string("\0", 1),
      std::string(64 * 1024, '\x01'),  // the largest there is: six bytes for each
      large,
  };
  const Configuration configuration = Parsed(kLookUp);
  for (const std::string& secret : secrets) {
    for (const bool drop_id : {false, true}) {
      const IdBeside id_beside = drop_id ? IdBeside::kDrop : IdBeside::kKeep;
      const std::string text =
          Plain(configuration.WriteWith(Keys(secret, secret + "x"), id_beside));
      const Json document = Json::parse(text, nullptr, false);
      ASSERT_TRUE(document.is_object());
      const Json& credentials = document["authorization"]["oauth_api"]["credentials"];
      EXPECT_TRUE(credentials["#data"] == secret);
      EXPECT_TRUE(credentials["#appSecret"] == secret + "x");
      EXPECT_EQ(text.find_first_of(std::string_view("\0\n\x01", 3)), std::string::npos);
    }
  }
}

TEST(Configuration, WriteWith_EscapesThePublicKeysToo) {
  EightKeys keys = Keys("d", "s");
  keys.authorized_for = "a\"},\"x\":\\";
  keys.creator_description = "\t\u00fc";
  const Json document =
      Json::parse(Plain(Parsed(kLookUp).WriteWith(keys, IdBeside::kKeep)), nullptr, false);
  ASSERT_TRUE(document.is_object());
  const Json& credentials = document["authorization"]["oauth_api"]["credentials"];
  EXPECT_EQ(credentials["authorizedFor"], "a\"},\"x\":\\");
  EXPECT_EQ(credentials["creator"]["description"], "\t\u00fc");
  EXPECT_EQ(credentials.size(), 8U);
}

TEST(Configuration, Write_KeepsOrderAndTheSpellingOfNumbers) {
  constexpr std::string_view kText =
      R"({"z":[1.0,1e5,-0,-0.0,0.10,1E+2,123456789.12345678901234567890,1e-999],)"
      R"("b":[18446744073709551615,-9223372036854775808,0,true,false,null],"a":{"y":1,"x":{}},)"
      R"("authorization":{}})";
  EXPECT_EQ(Plain(Parsed(kText).Write(IdBeside::kKeep)), kText);
}

TEST(Configuration, Write_DropsWhiteSpaceAndNeedlessEscapes) {
  EXPECT_EQ(Plain(Parsed("\xEF\xBB\xBF {\"\\u0061\" : "
                         "\"\\/\\u00e9\\ud83d\\udd11\\u001f\\u000a\\\"\\u007f\" ,\r\n"
                         "\t\"authorization\": [ ] }  \n")
                      .Write(IdBeside::kKeep)),
            "{\"a\":\"/\u00e9\U0001F511\\u001f\\n\\\"\x7f\",\"authorization\":{}}");
}

TEST(Configuration, Parse_AcceptsTheLimitsAndRefusesOneMore) {
  const auto of_size = [](std::size_t size) {
    const std::string_view around = R"({"a":""})";
    std::string text(around);
    return text.insert(6, size - around.size(), 'x');
  };
  EXPECT_EQ(Plain(Parsed(of_size(kMaxDocumentSize)).Write(IdBeside::kKeep)).size(),
            kMaxDocumentSize + std::string_view(R"(,"authorization":{})").size());
  EXPECT_FALSE(Parse(of_size(kMaxDocumentSize + 1)).has_value());

  const auto of_depth = [](std::size_t depth) {
    return R"({"a":)" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
  };
  EXPECT_TRUE(Parse(of_depth(kMaxDocumentDepth)).has_value());
  EXPECT_FALSE(Parse(of_depth(kMaxDocumentDepth + 1)).has_value());
}

TEST(Configuration, Parse_TakesManyKeysWithoutSearchingAllOfThemForEach) {
  std::string text = "{";
  for (int i = 0; i < 24000; ++i) text += '"' + std::to_string(i) + "\":1,";
  text += R"("a":1})";
  ASSERT_LE(text.size(), kMaxDocumentSize);
  EXPECT_TRUE(Parse(text).has_value());
}

struct Refused {
  std::string in;
  std::string_view text;  ///< begins the error's text
};

/// Stands in every refused document where it can; no error may hold it.
constexpr std::string_view kCanary = "canary";

std::vector<Refused> RefusedDocuments() {
  constexpr std::string_view kNotJson = "the document is not JSON";
  constexpr std::string_view kNoObject = "a configuration is one JSON object";
  constexpr std::string_view kTwice = "a key stands twice";
  constexpr std::string_view kNumber = "the document holds a number";
  constexpr std::string_view kNoId = "an id has 1 to 128";
  constexpr std::string_view kIdType = "authorization.oauth_api.id is no string";
  const auto with_id = [](std::string id) {
    return R"({"authorization":{"oauth_api":{"id":)" + std::move(id) + "}}}";
  };
  std::vector<Refused> rows = {
      {"", kNotJson},
      {" ", kNotJson},
      {"canary", kNotJson},
      {R"({"canary":"canary)", kNotJson},
      {R"({"canary":1} canary)", kNotJson},
      {R"({"canary":1,})", kNotJson},
      {R"({"a":"canary\x"})", kNotJson},
      {"{\"a\":\"canary\n\"}", kNotJson},
      {"{\"a\":\"canary\xff\"}", kNotJson},
      {"{\"canary\xc0\xaf\":1}", kNotJson},
      {"{\"a\":\"canary\xed\xa0\x80\"}", kNotJson},
      {R"({"a":"canary\ud800"})", kNotJson},
      {std::string("{\"a\":\"canary\0\"}", 15), kNotJson},
      {R"({"a":NaN})", kNotJson},
      {R"({"a":01})", kNotJson},
      {"/* canary */ {}", kNotJson},
      {"[]", kNoObject},
      {R"(["canary"])", kNoObject},
      {R"("canary")", kNoObject},
      {"null", kNoObject},
      {"1", kNoObject},
      {R"({"canary":1,"canary":2})", kTwice},
      {R"({"a":{"canary":1,"\u0063anary":1}})", kTwice},
      {R"({"authorization":{},"authorization":{}})", kTwice},
      {R"({"a":18446744073709551616})", kNumber},
      {R"({"a":-9223372036854775809})", kNumber},
      {R"({"a":[123456789012345678901234567890]})", kNumber},
      {R"({"a":1e999})", kNumber},
      {R"({"a":1)" + std::string(400, '0') + "}", kNumber},
      {R"({"a":)" + std::string(70, '[') + R"("canary")", "a document is nested"},
      {R"({"a":")" + std::string(kMaxDocumentSize, 'x') + R"("})",
       "a document has at most"},
      {R"({"authorization":"canary"})", "authorization is no object"},
      {R"({"authorization":""})", "authorization is no object"},
      {R"({"authorization":false})", "authorization is no object"},
      {R"({"authorization":0})", "authorization is no object"},
      {R"({"authorization":["canary"]})", "authorization is no object"},
      {R"({"authorization":[{"oauth_api":{"id":"canary"}}]})", "authorization is no object"},
      {R"({"authorization":{"canary":{}}})", "authorization knows oauth_api only"},
      {R"({"authorization":{"oauth_api":{"credentials":[]},"canary":1}})",
       "authorization knows oauth_api only"},
      {R"({"authorization":{"oauth_api":"canary"}})", "authorization.oauth_api is no object"},
      {R"({"authorization":{"oauth_api":["canary"]}})", "authorization.oauth_api is no object"},
      {R"({"authorization":{"oauth_api":{"canary":1}}})", "authorization.oauth_api knows"},
      {R"({"authorization":{"oauth_api":{"credentials":1,"canary":1}}})",
       "authorization.oauth_api knows"},
      {with_id("123"), kIdType},
      {with_id("null"), kIdType},
      {with_id("true"), kIdType},
      {with_id(R"(["canary"])"), kIdType},
      {with_id(R"({"id":"canary"})"), kIdType},
      {with_id(R"("")"), kNoId},
      {with_id(R"("canary/..")"), kNoId},
      {with_id(R"("canary\u0000")"), kNoId},
      {with_id('"' + std::string(kMaxIdSize + 1, 'x') + '"'), kNoId},
  };
  return rows;
}

TEST(Configuration, Parse_RefusesWithoutEchoingTheDocument) {
  for (const Refused& row : RefusedDocuments()) {
    const auto configuration = Parse(row.in);
    const std::string shown = row.in.substr(0, 100);
    ASSERT_FALSE(configuration.has_value()) << shown;
    const Error& error = configuration.error();
    EXPECT_EQ(error.GetCode(), Code::kInvalid) << shown;
    EXPECT_TRUE(error.GetText().starts_with(row.text)) << shown << ": " << error.Message();
    EXPECT_EQ(error.Message().find(kCanary), std::string::npos) << error.Message();
  }
}

struct Sealed {
  std::string in;
  std::string out;
};

std::vector<Sealed> SealedDocuments() {
  std::vector<Sealed> rows = {
      {R"({"#a":["KBC::ProjectSecure::x"],"authorization":{}})",
       R"({"#a":[opened],"authorization":{}})"},
      {R"({"#a":[1,["KBC::ProjectSecure::x"]],"authorization":{}})",
       R"({"#a":[1,[opened]],"authorization":{}})"},
      {R"({"#a":{"#b":"KBC::ProjectSecure::x"},"authorization":{}})",
       R"({"#a":{"#b":opened},"authorization":{}})"},
      {R"({"a":[{"#b":"KBC::ProjectSecure::x"}],"authorization":{}})",
       R"({"a":[{"#b":opened}],"authorization":{}})"},
      {R"({"\u0023b":"\u004bBC::ProjectSecure::x","authorization":{}})",
       R"({"#b":opened,"authorization":{}})"},
      {R"({"authorization":{"oauth_api":{"id":"i","credentials":{"#data":"KBC::Encrypted==x"}}}})",
       R"({"authorization":{"oauth_api":{"id":"i","credentials":{"#data":opened}}}})"},
  };
  for (const std::string scope :
       {"ComponentSecure", "ProjectSecure", "ConfigSecure", "ProjectWideSecure",
        "BranchTypeSecure"}) {
    for (const std::string cloud : {"", "KV", "GKMS"}) {
      rows.push_back({R"({"#a":"KBC::)" + scope + cloud + R"(::x","authorization":{}})",
                      R"({"#a":opened,"authorization":{}})"});
    }
  }
  for (const std::string legacy : {"", "Component", "ComponentProject"}) {
    rows.push_back({R"({"#a":"KBC::)" + legacy + R"(Encrypted==x","authorization":{}})",
                    R"({"#a":opened,"authorization":{}})"});
  }
  return rows;
}

TEST(Configuration, Open_PutsWhatItIsGivenInThePlaceOfEachSealedValue) {
  for (const Sealed& row : SealedDocuments()) {
    Configuration configuration = Parsed(row.in);
    ASSERT_EQ(configuration.SealedCount(), 1u) << row.in;
    const auto opened = configuration.Open([](std::string_view sealed) {
      EXPECT_TRUE(sealed.starts_with("KBC::") && sealed.ends_with('x')) << sealed;
      return Result<crypto::SecretBytes>(crypto::SecretBytes::CopyOf("opened"));
    });
    ASSERT_TRUE(opened);
    EXPECT_EQ(Plain(configuration.Write(IdBeside::kKeep)), row.out);
  }
}

TEST(Configuration, Open_ThatFailsLeavesEveryValueSealed) {
  constexpr std::string_view kText =
      R"({"#a":"KBC::ProjectSecure::1","#b":"KBC::ProjectSecure::2","authorization":{}})";
  Configuration configuration = Parsed(kText);
  const auto opened = configuration.Open([](std::string_view sealed) {
    Result<crypto::SecretBytes> first = crypto::SecretBytes::CopyOf("opened");
    if (sealed.ends_with('2')) first = Fail(Code::kInvalid, "a test's refusal");
    return first;
  });
  EXPECT_FALSE(opened);
  EXPECT_EQ(Plain(configuration.Write(IdBeside::kKeep)), kText);
}

TEST(Configuration, Write_DropsIdAndVersionBesideCredentialsThatStandInIt) {
  const auto open = [](std::string_view) {
    return Result<crypto::SecretBytes>(crypto::SecretBytes::CopyOf("\"o\""));
  };
  for (const std::string_view members :
       {R"("id":"i","version":{"#v":"KBC::ProjectSecure::x"},)"
        R"("credentials":{"#a":"KBC::ProjectSecure::x"})",
        R"("credentials":{"#a":"KBC::ProjectSecure::x"},"id":"i")",
        R"("id":"i","credentials":{"#a":"KBC::ProjectSecure::x"},"version":3)"}) {
    Configuration configuration =
        Parsed(R"({"authorization":{"oauth_api":{)" + std::string(members) +
               R"(}},"#z":"KBC::ProjectSecure::x"})");
    ASSERT_TRUE(configuration.Open(open));
    EXPECT_EQ(Plain(configuration.Write(IdBeside::kDrop)),
              R"({"authorization":{"oauth_api":{"credentials":{"#a":"o"}}},"#z":"o"})");
  }
  // Without credentials nothing is dropped.
  constexpr std::string_view kNothing = R"({"authorization":{"oauth_api":{"version":3}}})";
  EXPECT_EQ(Plain(Parsed(kNothing).Write(IdBeside::kDrop)), kNothing);
}

TEST(Configuration, Parse_LeavesWhatOnlyLooksSealed) {
  const std::string_view texts[] = {
      R"({"a":"KBC::ProjectSecure::x","authorization":{}})",
      R"({"#a":{"b":"KBC::ProjectSecure::x"},"authorization":{}})",
      R"({"#a":{"b":["KBC::ProjectSecure::x"]},"authorization":{}})",
      R"({"#a":"KBC::Other::x","#b":"KBC::ProjectSecure:x","#c":" KBC::ProjectSecure::x",)"
      R"("#d":"{{ name }}","#e":"KBC::ProjectSecureXX::x",)"
      R"("#f":"KBC::ProjectSecureGKMSx","authorization":{}})",
      R"({"#a":[1],"b":"KBC::ProjectSecure::x","authorization":{}})",
      R"({"#a":[[{"b":1}],{"b":"KBC::ProjectSecure::x"}],"authorization":{}})",
  };
  for (const std::string_view text : texts) {
    EXPECT_EQ(Parsed(text).SealedCount(), 0u) << text;
    EXPECT_EQ(Plain(Parsed(text).Write(IdBeside::kKeep)), text);
  }
}

TEST(Configuration, WriteWith_IsTheDocumentAndTheCredentialsForGeneratedDocuments) {
  std::set<std::string> seen;
  for (std::uint32_t seed = 0; seed < 2000; ++seed) {
    Generator generator(seed);
    const Json document = generator.Document();
    const std::string data = generator.String() + generator.String();
    const std::string app_secret = generator.String();
    const Configuration configuration = Parsed(generator.Spelled(document));
    ASSERT_EQ(configuration.GetPlan(), Plan::kLookUp) << "seed " << seed;
    EXPECT_EQ(Plain(configuration.Write(IdBeside::kKeep)), document.dump()) << "seed " << seed;

    Json kept = document;
    kept["authorization"]["oauth_api"]["credentials"] = Credentials(data, app_secret);
    Json dropped = document;
    dropped["authorization"]["oauth_api"] = {{"credentials", Credentials(data, app_secret)}};
    const EightKeys keys = Keys(data, app_secret);
    EXPECT_EQ(Plain(configuration.WriteWith(keys, IdBeside::kKeep)), kept.dump())
        << "seed " << seed;
    EXPECT_EQ(Plain(configuration.WriteWith(keys, IdBeside::kDrop)), dropped.dump())
        << "seed " << seed;
    seen.insert(document.dump());
  }
  EXPECT_GT(seen.size(), 1900U);  // the generator makes different documents
}

TEST(Configuration, Parse_TakesOrRefusesEveryCutAndChangedDocument) {
  Generator generator(7);
  for (int round = 0; round < 20; ++round) {
    const std::string text = generator.Spelled(generator.Document());
    for (std::size_t cut = 0; cut < text.size(); ++cut) {
      EXPECT_FALSE(Parse(text.substr(0, cut)).has_value());
      std::string changed = text;
      changed[cut] = static_cast<char>(generator.Below(256));
      const auto configuration = Parse(changed);
      if (!configuration) continue;
      // What was taken is a document again, and stays as it is.
      const std::string written = Plain(configuration->Write(IdBeside::kKeep));
      EXPECT_EQ(Plain(Parsed(written).Write(IdBeside::kKeep)), written);
      EXPECT_TRUE(Json::accept(written));
    }
  }
}

TEST(ConfigurationDeathTest, WriteWith_EndsTheProcessWithoutAnIdToLookUp) {
  const Configuration configuration = Parsed("{}");
  const EightKeys keys = Keys("d", "s");
  EXPECT_DEATH(configuration.WriteWith(keys, IdBeside::kKeep), "");
}

}  // namespace
}  // namespace oauthvault::custody
