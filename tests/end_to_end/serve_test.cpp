// `mixnmatch serve`, as OpenAI's client, curl and plain sockets see it (serve_check.py), and as the
// verifier of drafts elsewhere (serve_drafts_check.py).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/end_to_end/workshop.h"
#include "tests/support/python.h"

namespace mnm {
namespace {

using namespace test;
namespace fs = std::filesystem;
using Json = nlohmann::json;

const std::string kBundled = MNM_SOURCE_DIR "/data/reference";

// A server on a free port, and the judge of it.
class Served {
 public:
  explicit Served(std::vector<std::string> arguments) : program_(argv_of(std::move(arguments))) {
    if (!program_.says("serving")) ADD_FAILURE() << program_.err();
    const std::string err = program_.err();
    const std::size_t at = err.find("http://");
    url_ = err.substr(at, err.find_first_of(" \n", at) - at);
  }

  // Empty if the check of this name finds nothing wrong.
  std::string check(const std::string& name, const std::vector<fs::path>& more = {},
                    const std::string& script = "end_to_end/serve_check.py") {
    std::vector<fs::path> arguments = {name, url_};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return python_failure(script, arguments, scratch_);
  }
  std::string check_drafts(const std::string& name, const std::vector<fs::path>& more = {}) {
    return check(name, more, "end_to_end/serve_drafts_check.py");
  }
  // Asks it to stop, and waits for its end.
  Result stop() {
    program_.signal(SIGTERM);
    return program_.wait();
  }
  Running& program() { return program_; }
  const std::string& url() const { return url_; }

 private:
  static std::vector<std::string> argv_of(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "serve");
    arguments.insert(arguments.end(), {"--port", "0", "--threads", "1"});
    return mixnmatch_argv(std::move(arguments));
  }

  TempDir scratch_;
  Running program_;
  std::string url_;
};

class Serves : public Workshop {
 protected:
  void SetUp() override {
    if (!python_has("transformers")) GTEST_SKIP() << kNoPython;
    spew(dir_ / "token", "a-secret-of-tests\n");
  }

  // One after the other on one server, because it takes a moment to start.
  void expect_checks(Served& served, const std::vector<std::string>& names) {
    for (const std::string& name : names) EXPECT_EQ(served.check(name), "") << name;
  }
};

TEST_F(Serves, WhatClientsAskFor) {
  Json cases = Json::array();
  for (const std::string widths : {"64x8", "64x3,256x2,512x3", "512x8"}) {
    const Json answer = expect_done({"generate", kBundled, "--widths", widths, "--prompt",
                                     "def main(", "--max-new-tokens", "40", "--json"})
                            .json();
    cases.push_back({{"widths", widths}, {"prompt", "def main("}, {"text", answer["text"]}});
  }
  spew(dir_ / "generated.json", cases.dump());
  Served served({kBundled, "--token-file", path("token")});
  EXPECT_EQ(served.check("completions", {dir_ / "generated.json"}), "");
  expect_checks(served, {"protocol", "curl", "hostile", "together", "leaving"});
  EXPECT_EQ(served.check_drafts("verify"), "");
  EXPECT_EQ(served.stop().status, 0);
}

// The draft is an exported submodel, and the verifier the nested model.
TEST_F(Serves, DraftsFromElsewhere) {
  const std::string program = mixnmatch_argv({}).front();
  const std::string renamed = path("renamed");
  for (const std::string& model : {kBundled, std::string(MNM_SOURCE_DIR "/data/matmamba")}) {
    const std::string draft = path("draft-" + fs::path(model).filename().string());
    expect_done({"export", model, "--widths", model == kBundled ? "64" : "32", "--out", draft,
                 "--no-check"});
    Served served({model, "--token-file", path("token")});
    EXPECT_EQ(served.check_drafts("edge", {program, draft, path("token")}), "") << model;
  }
  TinyLlama other;
  other.vocab = 64;
  other.write(dir_ / "other");
  fs::copy(path("draft-reference"), renamed);
  Json tokenizer = Json::parse(slurp(renamed + "/tokenizer.json"));
  Json& vocabulary = tokenizer["model"]["vocab"];
  std::swap(vocabulary["a"], vocabulary["b"]);
  spew(renamed + "/tokenizer.json", tokenizer.dump());
  Served served({kBundled});
  EXPECT_EQ(
      served.check_drafts("strangers", {program, path("draft-reference"), path("other"), renamed}),
      "");
}

TEST_F(Serves, AChat) {
  const fs::path model = dir_ / "chat";
  fs::copy(kBundled, model);
  spew(model / "chat_template.jinja", "<|im_start|>{{ role }}\n{{ words }}<|im_end|>\n");
  Served served({model.string()});
  expect_checks(served, {"chat"});
}

TEST_F(Serves, TheFrontOfAStore) {
  ASSERT_EQ(mixnmatch(search({"--max-evaluations", "40"}, db_)).status, 0);
  Served served({model_, "--db", db_, "--name", "tiny", "--target-latency", "50ms"});
  EXPECT_EQ(served.check("front"), "");
  EXPECT_EQ(served.stop().status, 0);
}

TEST_F(Serves, NoMoreThanItCan) {
  Served served({kBundled, "--max-running", "2", "--max-waiting", "2"});
  expect_checks(served, {"full"});
}

TEST_F(Serves, BesideIdleConnections) {
  Served served({kBundled, "--max-connections", "20000"});
  expect_checks(served, {"idle"});
}

TEST_F(Serves, UntilItIsToldToStop) {
  Served served({kBundled});
  EXPECT_EQ(served.check("stopping", {std::to_string(served.program().pid())}), "");
  const Result result = served.program().wait();
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.err.find("finishing what is under way"), std::string::npos) << result.err;
}

TEST_F(Serves, WhatIsWrongIsOneSentence) {
  expect_refused({"serve", path("none")}, 1, "none");
  expect_refused({"serve", MNM_SOURCE_DIR "/data/vit"}, 1, "writes no text");
  expect_refused({"serve", kBundled, "--address", "localhost"}, 2, "no IP address");
  expect_refused({"serve", kBundled, "--port", "70000"}, 2, "65535");
  expect_refused({"serve", kBundled, "--token-file", path("none")}, 1, "none");
  spew(dir_ / "empty", "\n");
  expect_refused({"serve", kBundled, "--token-file", path("empty")}, 2, "secret");
  ASSERT_EQ(mixnmatch(search({"--max-evaluations", "4"}, db_)).status, 0);
  expect_refused({"serve", kBundled, "--db", db_}, 2, "no scores of");
  Served served({kBundled});
  const std::string port = served.url().substr(served.url().rfind(':') + 1);
  // Before the engine is opened: not even a device that is none is looked for.
  expect_refused({"serve", kBundled, "--port", port, "--device", "cuda:99"}, 1, "--port");
}

}  // namespace
}  // namespace mnm
