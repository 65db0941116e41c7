// Makes keys files and shares with libsodium alone, as ENVELOPE.md describes them, and lets the
// room open them; and opens by hand what the room has made. The field's arithmetic comes from the
// table of RFC 6330.

#include <gtest/gtest.h>
#include <sodium.h>

#include <algorithm>
#include <map>

#include "crypto/keyring.h"
#include "crypto/unlocker.h"
#include "tests/crypto/hex.h"
#include "tests/crypto/temporary_folder.h"

namespace oauthvault::crypto {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes Number(std::uint64_t number, std::size_t size) {
  Bytes bytes(size);
  for (auto& byte : bytes) {
    byte = static_cast<std::uint8_t>(number);
    number >>= 8;
  }
  return bytes;
}

Bytes Text(std::string_view text) { return {text.begin(), text.end()}; }

Bytes Joined(const std::vector<Bytes>& parts) {
  Bytes out;
  for (const Bytes& part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

Bytes Fields(const std::vector<Bytes>& fields) {
  Bytes out;
  for (const Bytes& field : fields) out = Joined({out, Number(field.size(), 4), field});
  return out;
}

Bytes Slice(const Bytes& bytes, std::size_t at, std::size_t size) {
  const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(at);
  return {begin, begin + static_cast<std::ptrdiff_t>(size)};
}

Bytes Hash(const Bytes& key, const std::vector<Bytes>& fields, std::size_t size = 32) {
  const Bytes message = Fields(fields);
  Bytes hash(std::max<std::size_t>(size, 16));
  crypto_generichash(hash.data(), hash.size(), message.data(), message.size(), key.data(),
                     key.size());
  hash.resize(size);
  return hash;
}

Bytes Random(std::size_t size) {
  Bytes bytes(size);
  randombytes_buf(bytes.data(), bytes.size());
  return bytes;
}

// "Wrapped key".
Bytes Wrap(const Bytes& wrapping, const Bytes& key, const std::vector<Bytes>& bound_to) {
  const Bytes nonce = Random(24);
  std::vector<Bytes> committed{Text("oauthvault/key/commit"), nonce};
  committed.insert(committed.end(), bound_to.begin(), bound_to.end());
  const Bytes data = Fields(bound_to);
  Bytes sealed(48);
  crypto_aead_xchacha20poly1305_ietf_encrypt(
      sealed.data(), nullptr, key.data(), key.size(), data.data(), data.size(), nullptr,
      nonce.data(), Hash(wrapping, {Text("oauthvault/key/wrap-key")}).data());
  return Joined({nonce, Hash(Hash(wrapping, {Text("oauthvault/key/commit-key")}), committed),
                 sealed});
}

// Empty when it does not verify.
Bytes Unwrap(const Bytes& wrapping, const Bytes& wrapped, const std::vector<Bytes>& bound_to) {
  const Bytes data = Fields(bound_to);
  Bytes key(32);
  const int opened = crypto_aead_xchacha20poly1305_ietf_decrypt(
      key.data(), nullptr, nullptr, wrapped.data() + 56, 48, data.data(), data.size(),
      wrapped.data(), Hash(wrapping, {Text("oauthvault/key/wrap-key")}).data());
  return opened == 0 ? key : Bytes();
}

Bytes PublicOf(const Bytes& secret) {
  Bytes point(32);
  crypto_scalarmult_base(point.data(), secret.data());
  return point;
}

Bytes Shared(const Bytes& secret, const Bytes& point) {
  Bytes shared(32);
  EXPECT_EQ(crypto_scalarmult(shared.data(), secret.data(), point.data()), 0);
  return shared;
}

std::string Base32(const Bytes& bytes) {
  std::string bits;
  for (const std::uint8_t byte : bytes) {
    for (int bit = 7; bit >= 0; --bit) bits += static_cast<char>('0' + ((byte >> bit) & 1));
  }
  while (bits.size() % 5 != 0) bits += '0';
  std::string text;
  for (std::size_t at = 0; at < bits.size(); at += 5) {
    text += "abcdefghijklmnopqrstuvwxyz234567"[std::stoul(bits.substr(at, 5), nullptr, 2)];
  }
  return text;
}

Bytes FromBase32(std::string_view text, std::size_t size) {
  std::string bits;
  for (const char c : text) {
    const std::size_t value = std::string_view("abcdefghijklmnopqrstuvwxyz234567").find(c);
    for (int bit = 4; bit >= 0; --bit) bits += static_cast<char>('0' + ((value >> bit) & 1));
  }
  Bytes bytes;
  for (std::size_t at = 0; bytes.size() < size; at += 8) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoul(bits.substr(at, 8), nullptr, 2)));
  }
  return bytes;
}

// GF(2^8) by its table.
class Field {
 public:
  Field() : powers_(FromHex(ReadVectors("vectors/gf256_exp.txt").front().at("powers"))) {
    for (std::size_t i = 0; i < powers_.size(); ++i) logarithms_[powers_[i]] = i;
  }
  std::uint8_t Times(std::uint8_t a, std::uint8_t b) const {
    if (a == 0 || b == 0) return 0;
    return powers_[(logarithms_.at(a) + logarithms_.at(b)) % 255];
  }
  std::uint8_t Over(std::uint8_t a, std::uint8_t b) const {
    if (a == 0) return 0;
    return powers_[(logarithms_.at(a) + 255 - logarithms_.at(b)) % 255];
  }

 private:
  Bytes powers_;
  std::map<std::uint8_t, std::size_t> logarithms_;
};

// What stands in a slot beside its id.
struct HandSlot {
  std::uint8_t kind;
  Bytes parameters;
  Bytes secret;
};

// A keys file from the page alone.
class KeysByHand : public testing::Test {
 protected:
  void WriteWith(const std::vector<HandSlot>& slots) {
    Bytes body = Joined({Text("OVKEYS"), Number(1, 2), vault_, Number(kChanges, 8),
                         Number(kEpoch, 4), Number(100, 4), Number(slots.size(), 1)});
    std::uint32_t id = 40;
    for (const HandSlot& slot : slots) body = Joined({body, SlotBytes(slot, ++id)});
    for (const char* name : {"index", "audit", "fingerprint", "manifest"}) {
      named_[name] = Random(32);
      body = Joined({body, Wrap(root_, named_[name], {Text("oauthvault/keys/named"), vault_,
                                                      Number(kEpoch, 4), Text(name)})});
    }
    const Bytes tag = Hash(named_["index"], {Text("oauthvault/owner"), {2}, Text("acme")}, 16);
    const Bytes name = Joined({{2}, tag, Number(9, 4)});
    body = Joined({body, Number(1, 4), name,
                   Wrap(root_, kek_, {Text("oauthvault/keys/kek"), vault_, Number(kEpoch, 4),
                                      name})});
    body = Joined({body, Hash(Hash(root_, {Text("oauthvault/keys/mac-key")}),
                              {Text("oauthvault/keys/mac"), body})});
    WriteContent(Path(), std::string(body.begin(), body.end()));
  }

  Bytes SlotBytes(const HandSlot& slot, std::uint32_t id) const {
    const Bytes ephemeral = Random(32);
    const Bytes p = PublicOf(slot.secret);
    const Bytes e = PublicOf(ephemeral);
    const Bytes w = Hash(Shared(ephemeral, p), {Text("oauthvault/slot/key"), vault_,
                                                Number(id, 4), {slot.kind}, e, p});
    return Joined({Number(id, 4), {slot.kind}, {4}, Text("hand"),
                   Number(slot.parameters.size(), 1), slot.parameters, p, e,
                   Wrap(w, root_, {Text("oauthvault/slot/root"), vault_, Number(id, 4),
                                   {slot.kind}, slot.parameters})});
  }

  // The vault, opened by the room with these texts.
  void ExpectOpensWith(const std::vector<std::string>& texts) {
    auto unlocker = Unlocker::Read(Path());
    ASSERT_TRUE(unlocker.has_value()) << unlocker.error().Message();
    for (const std::string& text : texts) {
      const auto given = unlocker->Give(SecretBytes::CopyOf(std::string_view(text)));
      ASSERT_TRUE(given.has_value()) << given.error().Message();
    }
    const auto keyring = unlocker->Take();
    ASSERT_TRUE(keyring.has_value()) << keyring.error().Message();
    EXPECT_EQ(ToHex((*keyring)->Id()), ToHex(vault_));
    EXPECT_EQ((*keyring)->Changes(), kChanges);
    EXPECT_EQ((*keyring)->RootEpoch(), kEpoch);
    EXPECT_EQ(ToHex((*keyring)->AuditKey()), ToHex(named_["audit"]));
    EXPECT_EQ(ToHex((*keyring)->FingerprintKey()), ToHex(named_["fingerprint"]));
    EXPECT_EQ(*(*keyring)->NewestVersion(Owner::Project("acme")), 9u);

    // The KEK is the one that was wrapped, and the element is made by the manifest key.
    PlainParts parts;
    parts.meta = SecretBytes::CopyOf(std::string_view("meta"));
    const RowKey key = (*keyring)->KeyOf(1, {"acme", "ex", {}});
    const auto row = (*keyring)->Seal(Owner::Project("acme"), key, 1, parts);
    VaultId vault{};
    std::ranges::copy(vault_, vault.begin());
    EXPECT_TRUE(OpenPart(Kek(SecretBytes::CopyOf(kek_)), vault, key, *row, Part::kMeta));
    // The commitment of a row with one part stands behind 94 bytes.
    const Bytes stored(row->Bytes().begin(), row->Bytes().end());
    EXPECT_EQ(ToHex((*keyring)->ElementOf(key, *row)),
              ToHex(Hash(named_["manifest"], {Text("oauthvault/summary/row"),
                                              Bytes(key.bytes.begin(), key.bytes.end()),
                                              Slice(stored, 94, 32)})));
  }

  std::string ShareText(const Bytes& set, std::uint8_t k, std::uint8_t n, std::uint8_t index,
                        const Bytes& payload) const {
    const Bytes check = Hash(Text("oauthvault/share/check-key"),
                             {Text("oauthvault/share/check"), set, {k, n, index}, payload}, 5);
    return "ov1-" + Base32(set) + "-" + std::to_string(k) + "of" + std::to_string(n) + "-" +
           std::to_string(index) + "-" + Base32(payload) + "-" + Base32(check);
  }

  std::filesystem::path Path() const { return folder_ / "keys"; }

  static constexpr std::uint64_t kChanges = 0x0102030405060708;
  static constexpr std::uint32_t kEpoch = 0x0304;
  const TemporaryFolder folder_;
  const Field field_;
  const Bytes vault_ = Random(16);
  const Bytes root_ = Random(32);
  const Bytes kek_ = Random(32);
  std::map<std::string, Bytes> named_;
};

TEST_F(KeysByHand, AFileMadeFromThePage_OpensByEachKindOfSlot) {
  const Bytes key = Random(32);
  std::string line(sodium_base64_encoded_len(32, sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(line.data(), line.size(), key.data(), key.size(),
                    sodium_base64_VARIANT_ORIGINAL);
  line.pop_back();

  const Bytes salt = Random(16);
  const std::string passphrase = "correct horse";
  Bytes stretched(32);
  ASSERT_EQ(crypto_pwhash(stretched.data(), 32, passphrase.data(), passphrase.size(), salt.data(),
                          2, std::size_t{9000} * 1024, crypto_pwhash_ALG_ARGON2ID13),
            0);

  const Bytes set = Random(5);
  const Bytes split = Random(32);
  const Bytes one = Random(32);
  const Bytes two = Random(32);
  std::vector<std::string> shares;
  for (std::uint8_t x = 1; x <= 12; ++x) {
    Bytes payload(32);
    for (std::size_t j = 0; j < 32; ++j) {
      // s + c1 x + c2 x^2
      payload[j] = static_cast<std::uint8_t>(split[j] ^ field_.Times(one[j], x) ^
                                             field_.Times(two[j], field_.Times(x, x)));
    }
    shares.push_back(ShareText(set, 3, 12, x, payload));
  }

  WriteWith({{1, {}, key},
             {2, Joined({salt, Number(2, 4), Number(9000, 4)}), stretched},
             {3, Joined({set, {3}, {12}}), split}});
  ExpectOpensWith({"oauthvault-key-1:" + line});
  ExpectOpensWith({passphrase});
  ExpectOpensWith({shares[11], shares[0], shares[6]});
}

TEST_F(KeysByHand, SharesAndSlotsThatTheRoomMade_AreReadFromThePage) {
  NewSlot wanted;
  wanted.kind = SlotKind::kShares;
  wanted.label = "room";
  wanted.threshold = 2;
  wanted.total = 3;
  const auto made = Keyring::Create(Path(), wanted);
  ASSERT_TRUE(made.has_value());
  std::vector<std::string> texts;
  for (const SecretBytes& text : made->slot.texts) {
    texts.push_back(text.Expose([](auto b) { return std::string(b.begin(), b.end()); }));
  }
  // ov1-ssssssss-2of3-i-(52)-(8)
  const Bytes set = FromBase32(texts[0].substr(4, 8), 5);
  std::vector<Bytes> payloads;
  for (std::size_t i = 0; i < 3; ++i) {
    payloads.push_back(FromBase32(texts[i].substr(20, 52), 32));
    EXPECT_EQ(texts[i], ShareText(set, 2, 3, static_cast<std::uint8_t>(i + 1), payloads[i]));
  }
  // The line through shares 2 and 3 at 0: (3 f(2) + 2 f(3)) / (2 + 3).
  Bytes secret(32);
  for (std::size_t j = 0; j < 32; ++j) {
    secret[j] = field_.Over(static_cast<std::uint8_t>(field_.Times(3, payloads[1][j]) ^
                                                      field_.Times(2, payloads[2][j])),
                            2 ^ 3);
  }

  const std::string content = ContentOf(Path());
  const Bytes file(content.begin(), content.end());
  const Bytes vault = Slice(file, 8, 16);
  EXPECT_EQ(Slice(file, 0, 8), Joined({Text("OVKEYS"), Number(1, 2)}));
  EXPECT_EQ(Slice(file, 24, 17),
            Joined({Number(1, 8), Number(1, 4), Number(2, 4), {1}}));
  const Bytes parameters = Joined({set, {2}, {3}});
  EXPECT_EQ(Slice(file, 41, 18),
            Joined({Number(1, 4), {3}, {4}, Text("room"), {7}, parameters}));
  const Bytes p = Slice(file, 59, 32);
  const Bytes e = Slice(file, 91, 32);
  EXPECT_EQ(PublicOf(secret), p);
  const Bytes w = Hash(Shared(secret, e), {Text("oauthvault/slot/key"), vault, Number(1, 4), {3},
                                           e, p});
  const Bytes root = Unwrap(w, Slice(file, 123, 104), {Text("oauthvault/slot/root"), vault,
                                                       Number(1, 4), {3}, parameters});
  ASSERT_EQ(root.size(), 32u);
  EXPECT_EQ(Slice(file, file.size() - 32, 32),
            Hash(Hash(root, {Text("oauthvault/keys/mac-key")}),
                 {Text("oauthvault/keys/mac"), Slice(file, 0, file.size() - 32)}));
  EXPECT_EQ(ToHex(Unwrap(root, Slice(file, 227 + 104, 104),
                         {Text("oauthvault/keys/named"), vault, Number(1, 4), Text("audit")})),
            ToHex(made->keyring->AuditKey()));
}

}  // namespace
}  // namespace oauthvault::crypto
