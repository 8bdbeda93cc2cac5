#include "serve/allowed_hosts.h"

#include <gtest/gtest.h>

#include "tests/support/error_of.h"

namespace mnm {
namespace {

TEST(AllowedHosts, OnALoopbackAddressAreItsOwn) {
  for (const char* address : {"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"}) {
    const AllowedHosts hosts(address, {});
    for (const char* host : {"", "localhost", "localhost:8080", "LocalHost.", "localhost:",
                             "127.0.0.1", "127.0.0.2:80", "[::1]", "[::1]:80", "[0:0::1]:80",
                             "10.0.0.5", "0.0.0.0:80", "[::2]", "[::ffff:10.0.0.5]:80"}) {
      EXPECT_TRUE(hosts.allow(host)) << address << " " << host;
    }
    for (const char* host : {"a",
                             "localhost.evil.example",
                             "evil.example:80",
                             "127.0.0.1.evil.example",
                             "10.0.0.5.evil.example",
                             "10.0.0.5x",
                             "10.0.0.256",
                             "10.0.5",
                             "0x7f.0.0.1",
                             "2130706433",
                             "host.docker.internal",
                             "[evil.example]",
                             "[::1",
                             "::1",
                             "localhost:x",
                             "[::1]x",
                             "localhost@evil.example",
                             " localhost",
                             ":80",
                             "."}) {
      EXPECT_FALSE(hosts.allow(host)) << address << " " << host;
    }
  }
}

TEST(AllowedHosts, AreThoseThatWereNamedToo) {
  const AllowedHosts hosts("127.0.0.1", {"Models.Example.com", "10.0.0.5", "[fe80:0::5]", "2::"});
  for (const char* host : {"models.example.com", "MODELS.EXAMPLE.COM.:443", "10.0.0.5:8080",
                           "[fe80::5]:80", "[2::0]", "localhost"}) {
    EXPECT_TRUE(hosts.allow(host)) << host;
  }
  for (const char* host : {"example.com", "x.models.example.com", "10.0.0.5.models.example.com"}) {
    EXPECT_FALSE(hosts.allow(host)) << host;
  }
}

TEST(AllowedHosts, ElsewhereAreAllUnlessSomeWereNamed) {
  EXPECT_TRUE(AllowedHosts("0.0.0.0", {}).allow("evil.example"));
  EXPECT_TRUE(AllowedHosts("::", {}).allow("evil.example"));
  EXPECT_TRUE(AllowedHosts("::ffff:10.0.0.5", {}).allow("evil.example"));
  const AllowedHosts named("0.0.0.0", {"models.example.com"});
  EXPECT_TRUE(named.allow("models.example.com"));
  EXPECT_TRUE(named.allow("127.0.0.1"));
  EXPECT_TRUE(named.allow("10.0.0.5:8080"));
  EXPECT_FALSE(named.allow("evil.example"));
}

TEST(AllowedHosts, AreNamesWithoutPorts) {
  for (const char* name : {"", ".", "a:80", "http://a", "*.example.com", "[a", "a b"}) {
    EXPECT_TRUE(test::contains(test::usage_error_of([&] { AllowedHosts("::1", {name}); }),
                               "without a port"))
        << name;
  }
}

}  // namespace
}  // namespace mnm
