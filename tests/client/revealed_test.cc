#include "client/revealed.h"

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <gtest/gtest.h>

#include "oauthvault/v1/credentials.pb.h"
#include "oauthvault/v1/operations.pb.h"

namespace oauthvault::client {
namespace {

using google::protobuf::io::ArrayInputStream;

std::string TextOf(const crypto::SecretBytes& secret) {
  return secret.Expose([](std::span<const std::uint8_t> bytes) {
    return std::string(bytes.begin(), bytes.end());
  });
}

v1::RevealResponse Sample() {
  v1::RevealResponse response;
  response.set_id("main");
  response.set_authorized_for("Myself");
  response.mutable_creator()->set_id("local/admin");
  response.mutable_creator()->set_description("me");
  response.set_created("2016-01-31 00:13:30");
  response.set_data("{\"access_token\":\"\xC3\xA9\x01\\\"}");
  response.set_oauth_version("2.0");
  response.set_app_key("w51u7j30oghe412");
  response.set_app_secret("s3cret");
  response.set_version(7);
  return response;
}

Outcome<Revealed> Read(const std::string& wire, int block_size = -1) {
  ArrayInputStream stream(wire.data(), static_cast<int>(wire.size()), block_size);
  return ReadRevealed(stream);
}

TEST(Revealed, Read_GivesEveryFieldExactlyHoweverTheInputIsSplit) {
  const std::string wire = Sample().SerializeAsString();
  for (int block_size = 1; block_size <= static_cast<int>(wire.size()); ++block_size) {
    const auto revealed = Read(wire, block_size);
    ASSERT_TRUE(revealed) << block_size;
    EXPECT_EQ(revealed->id, "main");
    EXPECT_EQ(revealed->authorized_for, "Myself");
    EXPECT_EQ(revealed->creator_id, "local/admin");
    EXPECT_EQ(revealed->creator_description, "me");
    EXPECT_EQ(revealed->created, "2016-01-31 00:13:30");
    EXPECT_EQ(TextOf(revealed->data.Bytes()), Sample().data());
    EXPECT_EQ(revealed->oauth_version, "2.0");
    EXPECT_EQ(revealed->app_key, "w51u7j30oghe412");
    EXPECT_EQ(TextOf(revealed->app_secret.Bytes()), "s3cret");
    EXPECT_EQ(revealed->version, 7U);
  }
}

Outcome<std::vector<RevealedItem>> ReadItems(const std::string& wire, int block_size = -1) {
  ArrayInputStream stream(wire.data(), static_cast<int>(wire.size()), block_size);
  return ReadRevealedItems(stream);
}

v1::RevealManyResponse SampleOfSeveral() {
  v1::RevealManyResponse response;
  response.add_items()->set_id("main");
  *response.mutable_items(0)->mutable_credentials() = Sample();
  response.add_items()->set_id("absent");
  response.mutable_items(1)->set_code("NOT_FOUND");
  return response;
}

TEST(RevealedItems, Read_GivesEachItemInItsOrderHoweverTheInputIsSplit) {
  const std::string wire = SampleOfSeveral().SerializeAsString();
  for (int block_size = 1; block_size <= static_cast<int>(wire.size()); ++block_size) {
    const auto items = ReadItems(wire, block_size);
    ASSERT_TRUE(items) << block_size;
    ASSERT_EQ(items->size(), 2U);
    EXPECT_EQ(items->front().id, "main");
    EXPECT_EQ(items->front().code, "");
    EXPECT_EQ(TextOf(items->front().revealed.data.Bytes()), Sample().data());
    EXPECT_EQ(items->front().revealed.version, 7U);
    EXPECT_EQ(items->back().id, "absent");
    EXPECT_EQ(items->back().code, "NOT_FOUND");
  }
}

TEST(RevealedItems, Read_OfWhatIsNoAnswer_IsCorrupt) {
  const std::string wire = SampleOfSeveral().SerializeAsString();
  for (std::size_t size = 0; size < wire.size(); ++size) {
    const auto items = ReadItems(wire.substr(0, size));
    // Cut between two items it is an answer still: of one.
    if (items) {
      EXPECT_EQ(items->size(), 1U) << size;
    } else {
      EXPECT_EQ(items.error().code, Code::kCorrupt) << size;
    }
  }
  v1::RevealManyResponse neither;
  neither.add_items()->set_id("main");
  EXPECT_FALSE(ReadItems(neither.SerializeAsString()));
  v1::RevealManyResponse nameless = SampleOfSeveral();
  nameless.mutable_items(1)->clear_id();
  EXPECT_FALSE(ReadItems(nameless.SerializeAsString()));
  v1::RevealManyResponse many;
  for (int i = 0; i < 65; ++i) *many.add_items() = SampleOfSeveral().items(1);
  EXPECT_FALSE(ReadItems(many.SerializeAsString()));
}

TEST(Revealed, Read_TakesUnusualOrderUnknownFieldsAndTheLastOfARepeatedField) {
  v1::RevealResponse first;
  first.set_version(3);
  first.set_app_secret("last field first");
  v1::RevealResponse earlier;
  earlier.set_data("earlier");
  // Field 100: a varint, a length-delimited and a fixed64 one.
  const std::string unknown = std::string("\xA0\x06\x7F") + std::string("\xA2\x06\x02hi", 5) +
                              std::string("\xA1\x06\0\0\0\0\0\0\0\0", 10);
  v1::RevealResponse rest = Sample();
  rest.clear_app_secret();
  rest.clear_version();
  const auto revealed = Read(unknown + first.SerializeAsString() + earlier.SerializeAsString() +
                             unknown + rest.SerializeAsString() + unknown);
  ASSERT_TRUE(revealed);
  EXPECT_EQ(revealed->version, 3U);
  EXPECT_EQ(TextOf(revealed->app_secret.Bytes()), "last field first");
  EXPECT_EQ(TextOf(revealed->data.Bytes()), Sample().data());
}

TEST(Revealed, Read_RefusesEveryTruncationAsCorrupt) {
  const std::string wire = Sample().SerializeAsString();
  const std::string head = wire.substr(0, wire.find("main") + 4);
  for (std::size_t size = 0; size < wire.size() - 2; ++size) {
    const auto revealed = Read(wire.substr(0, size));
    // A cut between two fields is a shorter message, whole once id and data are in it.
    v1::RevealResponse parsed;
    if (parsed.ParseFromString(wire.substr(0, size)) && !parsed.data().empty()) continue;
    ASSERT_FALSE(revealed) << size;
    EXPECT_EQ(revealed.error().code, Code::kCorrupt);
  }
}

TEST(Revealed, Read_RefusesASizeBeyondEveryLimitWithoutAllocatingIt) {
  const auto revealed = Read(std::string("\x0A\x04main\x2A\xFF\xFF\xFF\xFF\x07", 12));
  ASSERT_FALSE(revealed);
  EXPECT_EQ(revealed.error().code, Code::kCorrupt);
}

TEST(Revealed, ReadInjected_GivesTheConfiguration) {
  v1::InjectResponse response;
  response.set_configuration("{\"a\":1}");
  const std::string wire = response.SerializeAsString();
  ArrayInputStream stream(wire.data(), static_cast<int>(wire.size()), 2);
  const auto injected = ReadInjected(stream);
  ASSERT_TRUE(injected);
  EXPECT_EQ(TextOf(*injected), "{\"a\":1}");
}

v1::AddSlotResponse SampleSlot() {
  v1::AddSlotResponse response;
  response.mutable_slot()->set_id(8);
  response.mutable_slot()->set_kind("shares");
  response.mutable_slot()->set_label("board");
  response.mutable_slot()->set_threshold(2);
  response.mutable_slot()->set_total(3);
  for (const char* text : {"share one", "share+two/", "share=three"}) response.add_texts(text);
  return response;
}

Outcome<NewSlot> ReadSlot(const std::string& wire, int block_size = -1) {
  ArrayInputStream stream(wire.data(), static_cast<int>(wire.size()), block_size);
  return ReadNewSlot(stream);
}

TEST(Revealed, ReadNewSlot_GivesTheSlotAndItsTextsHoweverTheInputIsSplit) {
  // The slot last, and a field that is not known: 100, a varint.
  v1::AddSlotResponse texts = SampleSlot();
  texts.clear_slot();
  v1::AddSlotResponse slot_only;
  *slot_only.mutable_slot() = SampleSlot().slot();
  const std::string wire = texts.SerializeAsString() + "\xA0\x06\x7F" +
                           slot_only.SerializeAsString();
  for (int block_size = 1; block_size <= static_cast<int>(wire.size()); ++block_size) {
    const auto slot = ReadSlot(wire, block_size);
    ASSERT_TRUE(slot) << block_size;
    EXPECT_EQ(slot->id, 8U);
    EXPECT_EQ(slot->kind, "shares");
    EXPECT_EQ(slot->label, "board");
    EXPECT_EQ(slot->threshold, 2U);
    EXPECT_EQ(slot->total, 3U);
    ASSERT_EQ(slot->texts.size(), 3U);
    EXPECT_EQ(TextOf(slot->texts[0]), "share one");
    EXPECT_EQ(TextOf(slot->texts[1]), "share+two/");
    EXPECT_EQ(TextOf(slot->texts[2]), "share=three");
  }
}

TEST(Revealed, ReadNewSlot_RefusesWhatIsNoSlotOrHasTextsOfAnotherForm) {
  const auto refused = [](const v1::AddSlotResponse& response) {
    const auto slot = ReadSlot(response.SerializeAsString());
    return !slot && slot.error().code == Code::kCorrupt;
  };
  const std::string wire = SampleSlot().SerializeAsString();
  // A cut inside the slot, there between two fields and inside one, or inside a text.
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{4}, std::size_t{5},
                                 wire.size() - 1}) {
    EXPECT_FALSE(ReadSlot(wire.substr(0, size))) << size;
  }
  v1::AddSlotResponse response = SampleSlot();
  response.clear_slot();
  EXPECT_TRUE(refused(response));
  for (const std::string& text : {std::string(), std::string("a\nb"), std::string("\x1b[A"),
                                  std::string("quote\""), std::string("back\\"),
                                  std::string("\xC3\xA9"), std::string(4097, 'a')}) {
    response = SampleSlot();
    response.add_texts(text);
    EXPECT_TRUE(refused(response)) << text;
  }
  response = SampleSlot();
  response.add_texts(std::string(4096, 'a'));
  while (response.texts_size() < 16) response.add_texts("a");
  EXPECT_FALSE(refused(response));
  response.add_texts("one more than any slot has");
  EXPECT_TRUE(refused(response));
}

TEST(Revealed, AsJson_HasTheEightKeysInTheirOrder) {
  const auto revealed = Read(Sample().SerializeAsString());
  ASSERT_TRUE(revealed);
  EXPECT_EQ(TextOf(RevealedAsJson(*revealed)),
            "{\n  \"id\": \"main\",\n  \"authorizedFor\": \"Myself\",\n  \"creator\": {\"id\": "
            "\"local/admin\", \"description\": \"me\"},\n  \"created\": \"2016-01-31 00:13:30\",\n"
            "  \"#data\": \"{\\\"access_token\\\":\\\"\xC3\xA9\\u0001\\\\\\\"}\",\n"
            "  \"oauthVersion\": \"2.0\",\n  \"appKey\": \"w51u7j30oghe412\",\n"
            "  \"#appSecret\": \"s3cret\"\n}\n");
}

}  // namespace
}  // namespace oauthvault::client
