#include "daemon/rivery/address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <string>

namespace oauthvault::rivery {
namespace {

AddressKind KindOfText(const std::string& text) {
  if (text.contains(':')) {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    EXPECT_EQ(inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr), 1) << text;
    return KindOf(reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
  }
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  EXPECT_EQ(inet_pton(AF_INET, text.c_str(), &v4.sin_addr), 1) << text;
  return KindOf(reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
}

TEST(AddressTest, KindOf_KnowsEverySpecialBlockAtItsEdges) {
  const struct {
    std::string address;
    AddressKind kind;
  } rows[] = {
      {"8.8.8.8", AddressKind::kPublic},
      {"1.0.0.0", AddressKind::kPublic},
      {"0.0.0.0", AddressKind::kNever},
      {"0.255.255.255", AddressKind::kNever},
      {"9.255.255.255", AddressKind::kPublic},
      {"10.0.0.0", AddressKind::kPrivate},
      {"10.255.255.255", AddressKind::kPrivate},
      {"11.0.0.0", AddressKind::kPublic},
      {"100.63.255.255", AddressKind::kPublic},
      {"100.64.0.0", AddressKind::kPrivate},
      {"100.127.255.255", AddressKind::kPrivate},
      {"100.128.0.0", AddressKind::kPublic},
      {"100.100.100.200", AddressKind::kNever},
      {"126.255.255.255", AddressKind::kPublic},
      {"127.0.0.1", AddressKind::kLoopback},
      {"127.255.255.255", AddressKind::kLoopback},
      {"168.63.129.16", AddressKind::kNever},
      {"169.253.255.255", AddressKind::kPublic},
      {"169.254.169.254", AddressKind::kNever},
      {"172.15.255.255", AddressKind::kPublic},
      {"172.16.0.0", AddressKind::kPrivate},
      {"172.31.255.255", AddressKind::kPrivate},
      {"172.32.0.0", AddressKind::kPublic},
      {"192.0.0.8", AddressKind::kNever},
      {"192.0.2.1", AddressKind::kNever},
      {"192.88.99.1", AddressKind::kNever},
      {"192.168.0.0", AddressKind::kPrivate},
      {"192.169.0.0", AddressKind::kPublic},
      {"198.19.255.255", AddressKind::kNever},
      {"198.51.100.7", AddressKind::kNever},
      {"203.0.113.7", AddressKind::kNever},
      {"223.255.255.255", AddressKind::kPublic},
      {"224.0.0.1", AddressKind::kNever},
      {"240.0.0.1", AddressKind::kNever},
      {"255.255.255.255", AddressKind::kNever},
      {"2606:4700::1111", AddressKind::kPublic},
      {"::", AddressKind::kNever},
      {"::1", AddressKind::kLoopback},
      {"::2", AddressKind::kNever},
      {"::ffff:127.0.0.1", AddressKind::kNever},
      {"::ffff:8.8.8.8", AddressKind::kNever},
      {"::127.0.0.1", AddressKind::kNever},
      {"64:ff9b::7f00:1", AddressKind::kNever},
      {"64:ff9b:1::1", AddressKind::kNever},
      {"100::1", AddressKind::kNever},
      {"2001::1", AddressKind::kNever},
      {"2001:db8::1", AddressKind::kNever},
      {"2002:7f00:1::", AddressKind::kNever},
      {"3fff::1", AddressKind::kNever},
      {"fc00::1", AddressKind::kPrivate},
      {"fd12::1", AddressKind::kPrivate},
      {"fd00:ec2::254", AddressKind::kNever},
      {"fe80::1", AddressKind::kNever},
      {"fec0::1", AddressKind::kNever},
      {"ff02::1", AddressKind::kNever},
  };
  for (const auto& row : rows) EXPECT_EQ(KindOfText(row.address), row.kind) << row.address;
}

TEST(AddressTest, KindOf_RefusesOtherFamiliesAndShortStructures) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_addr.s_addr = htonl(0x08080808);
  EXPECT_EQ(KindOf(reinterpret_cast<const sockaddr*>(&v4), sizeof v4 - 1), AddressKind::kNever);
  v4.sin_family = AF_UNIX;
  EXPECT_EQ(KindOf(reinterpret_cast<const sockaddr*>(&v4), sizeof v4), AddressKind::kNever);
}

TEST(AddressTest, MayConnect_OpensOnlyWhatReachSaysAndPlainOnlyLoopback) {
  for (const bool loopback : {false, true}) {
    for (const bool is_private : {false, true}) {
      const Reach reach{.allow_loopback = loopback, .allow_private = is_private};
      EXPECT_TRUE(MayConnect(AddressKind::kPublic, reach, false));
      EXPECT_FALSE(MayConnect(AddressKind::kPublic, reach, true));
      EXPECT_EQ(MayConnect(AddressKind::kLoopback, reach, false), loopback);
      EXPECT_EQ(MayConnect(AddressKind::kLoopback, reach, true), loopback);
      EXPECT_EQ(MayConnect(AddressKind::kPrivate, reach, false), is_private);
      EXPECT_FALSE(MayConnect(AddressKind::kPrivate, reach, true));
      EXPECT_FALSE(MayConnect(AddressKind::kNever, reach, false));
      EXPECT_FALSE(MayConnect(AddressKind::kNever, reach, true));
    }
  }
}

}  // namespace
}  // namespace oauthvault::rivery
