#include "serve/verifier.h"

#include <gtest/gtest.h>

#include "tests/serve/scripted_server.h"
#include "tests/support/error_of.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;
using test::ScriptedServer;
using Json = nlohmann::json;
using Tokens = std::vector<std::int64_t>;

RemoteVerifier::Settings settings_of(const ScriptedServer& server) {
  RemoteVerifier::Settings settings;
  settings.url = server.url();
  settings.vocabulary = 256;
  return settings;
}

// What a server says that accepts the whole draft, and then says 7.
ScriptedServer::Answer accepting(const Json& asked) {
  const std::int64_t accepted = std::ssize(asked["draft"]);
  const std::int64_t length =
      asked.value("keep", std::int64_t{0}) + std::ssize(asked["tokens"]) + accepted + 1;
  return {200,
          {{"session", "s"},
           {"accepted", accepted},
           {"token", 7},
           {"length", length},
           {"widths", "4x2"},
           {"computed", 1},
           {"seconds", 0.5}}};
}

std::vector<Proposal> draft_of(const Tokens& tokens) {
  std::vector<Proposal> draft;
  for (const std::int64_t token : tokens) draft.push_back({token, {{token, 1}}});
  return draft;
}

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

// Whatever text is asked for, the server has it all: what it keeps, and what is sent.
TEST(RemoteVerifier, ASessionKeepsWhatTheTextsHaveInCommon) {
  std::vector<Json> asked;
  const ScriptedServer server([&](const Json& body) {
    asked.push_back(body);
    return accepting(body);
  });
  RemoteVerifier verifier(settings_of(server));
  verifier.verify(Tokens{1, 2, 3}, draft_of({4, 5}), 1);
  verifier.verify(Tokens{1, 2, 3, 4, 5, 7}, {}, 1);     // goes on
  verifier.verify(Tokens{1, 2, 3, 4, 5, 8, 9}, {}, 1);  // has another token than the server said
  verifier.verify(Tokens{1, 2}, {}, 1);                 // is a start of it
  verifier.verify(Tokens{6}, {}, 1);                    // is another text
  const Json kept[] = {nullptr, 6, 5, 2, nullptr};
  const Tokens sent[] = {{1, 2, 3}, {}, {8, 9}, {}, {6}};
  ASSERT_EQ(asked.size(), 5u);
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(asked[i].value("keep", Json()), kept[i]) << i;
    EXPECT_EQ(asked[i].contains("session"), !kept[i].is_null()) << i;
    EXPECT_EQ(asked[i]["tokens"].get<Tokens>(), sent[i]) << i;
  }
  EXPECT_EQ(verifier.trips().count, 5);
  EXPECT_EQ(verifier.trips().computed, 2.5);
  EXPECT_EQ(verifier.trips().first_computed, 0.5);
}

TEST(RemoteVerifier, AForgottenSessionBeginsAgain) {
  int asked = 0;
  const ScriptedServer server([&](const Json& body) -> ScriptedServer::Answer {
    ++asked;
    if (!body.contains("session")) return accepting(body);
    return {404, {{"error", {{"message", "none"}, {"code", "session_unknown"}}}}};
  });
  RemoteVerifier verifier(settings_of(server));
  for (const Tokens& text : {Tokens{1}, Tokens{1, 7}, Tokens{1, 7, 7}}) {
    EXPECT_EQ(verifier.verify(text, {}, 1).token, 7);
  }
  EXPECT_EQ(asked, 5);
}

TEST(RemoteVerifier, WhatTakesTooLongIsNotAskedTwice) {
  std::atomic<int> asked = 0;
  const ScriptedServer server([&](const Json&) -> std::optional<ScriptedServer::Answer> {
    ++asked;
    return std::nullopt;
  });
  RemoteVerifier::Settings settings = settings_of(server);
  settings.http.answer = std::chrono::seconds(1);
  RemoteVerifier verifier(settings);
  const std::string error = error_of([&] { verifier.verify(Tokens{1}, {}, 1); });
  EXPECT_TRUE(contains(error, "no answer in time")) << error;
  EXPECT_LE(asked, 1);
}

// As our own server writes it where it has no word for programs.
TEST(RemoteVerifier, ARefusalSaysWhy) {
  const ScriptedServer server([](const Json&) -> ScriptedServer::Answer {
    return {400, {{"error", {{"message", "the draft is too long"}, {"code", nullptr}}}}};
  });
  RemoteVerifier verifier(settings_of(server));
  const std::string error = error_of([&] { verifier.verify(Tokens{1}, {}, 1); });
  EXPECT_TRUE(contains(error, "the draft is too long")) << error;
}

TEST(RemoteVerifier, AnswersThatAreNoneAreRefused) {
  const Json wrong[] = {{{"accepted", 3}},     {{"accepted", -1}}, {{"token", 256}},
                        {{"token", "a"}},      {{"length", 9}},    {{"session", nullptr}},
                        {{"seconds", "long"}}, {{"seconds", -1}},  {{"computed", 1.5}},
                        {{"widths", 4}}};
  for (const Json& more : wrong) {
    const ScriptedServer server([&](const Json& body) {
      ScriptedServer::Answer answer = accepting(body);
      answer.body.update(more);
      return answer;
    });
    RemoteVerifier verifier(settings_of(server));
    const std::string error = error_of([&] { verifier.verify(Tokens{1}, draft_of({2, 3}), 1); });
    EXPECT_TRUE(contains(error, "is none")) << more;
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
