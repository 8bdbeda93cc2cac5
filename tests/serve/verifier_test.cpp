#include "serve/verifier.h"

#include <gtest/gtest.h>

#include "tests/support/error_of.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;

TEST(HttpClient, AddressesThatAreNoneAreRefused) {
  for (const char* url : {"", "localhost:8080", "https://localhost", "http://", "http://:80",
                          "http://a:0", "http://a:65536", "http://a:8x", "http://a:", "http://a/b",
                          "http://a?b", "http://me@a", "http://[::1", "http://[::1]x"}) {
    EXPECT_THROW(HttpClient(url, {}), UsageError) << url;
  }
  for (const char* url : {"http://a", "http://a/", "http://127.0.0.1:8080", "http://[::1]:8080/"}) {
    EXPECT_NO_THROW(HttpClient(url, {})) << url;
  }
}

TEST(RemoteVerifier, NoServerIsOneSentence) {
  RemoteVerifier::Settings settings;
  settings.url = "http://127.0.0.1:1";  // tcpmux: nothing listens there
  settings.vocabulary = 256;
  const std::string error = error_of([&] { RemoteVerifier verifier(settings); });
  EXPECT_TRUE(contains(error, "no server at http://127.0.0.1:1")) << error;
  EXPECT_TRUE(contains(error, "mixnmatch serve")) << error;
}

}  // namespace
}  // namespace mnm
