// Widths that change while a text is generated, drafts, and the choice of a draft.
#include <algorithm>
#include <filesystem>

#include "tests/end_to_end/workshop.h"

namespace mnm::test {
namespace {

using Json = nlohmann::json;
using Elastic = Workshop;

const std::string kReference = MNM_SOURCE_DIR "/data/reference";
const std::string kMatMamba = MNM_SOURCE_DIR "/data/matmamba";

std::vector<std::string> generate(const std::string& model, const std::vector<std::string>& more) {
  std::vector<std::string> all = {"generate",     model,    "--prompt",         "def main(",
                                  "--ignore-end", "--json", "--max-new-tokens", "80",
                                  "--threads",    "1"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

TEST_F(Elastic, WidthsChangeAfterSoManyTokens) {
  for (const std::string& model : {kReference, kMatMamba}) {
    const std::string narrow = model == kReference ? "64" : "32", wide = "128";
    const std::vector<std::string> drawn = {"--widths", narrow,   "--temperature",
                                            "1",        "--seed", "3"};
    const Json alone = expect_done(generate(model, drawn)).json();
    std::vector<std::string> switched = drawn;
    switched.insert(switched.end(), {"--then", "30:" + wide, "--then", "60:" + narrow});
    const Json then = expect_done(generate(model, switched)).json();
    ASSERT_EQ(then["tokens"].size(), 80u);
    for (std::size_t i = 0; i < 30; ++i) EXPECT_EQ(then["tokens"][i], alone["tokens"][i]) << i;
    EXPECT_NE(then["tokens"], alone["tokens"]);
    ASSERT_EQ(then["schedule"].size(), 3u);
    EXPECT_EQ(then["schedule"][1]["after"], 30);
  }
}

TEST_F(Elastic, AGreedyDraftChangesNoToken) {
  for (const std::string& model : {kReference, kMatMamba}) {
    const std::string narrow = model == kReference ? "64" : "32";
    const Json alone = expect_done(generate(model, {})).json();
    for (const std::string cache : {"shared", "own"}) {
      for (const std::string length : {"0", "3"}) {
        const Json both = expect_done(generate(model, {"--draft", narrow, "--draft-cache", cache,
                                                       "--draft-tokens", length}))
                              .json();
        EXPECT_EQ(both["tokens"], alone["tokens"]) << model << " " << cache << " " << length;
        EXPECT_GT(both["accepted_tokens"], 0);
        EXPECT_GE(both["tokens_per_verification"], 1);
        EXPECT_GT(both["speedup"], 0);
        EXPECT_GT(both["expected_speedup"], 0);
      }
    }
  }
}

TEST_F(Elastic, ASeedDrawsTheSameTokensWithADraft) {
  const auto drawn = [&](const std::string& seed) {
    return expect_done(
               generate(kReference, {"--draft", "64", "--temperature", "1", "--seed", seed}))
        .json()["tokens"];
  };
  const Json first = drawn("3");
  EXPECT_EQ(drawn("3"), first);
  EXPECT_NE(drawn("4"), first);
}

TEST_F(Elastic, AMarginOfAllOrNothingIsOneSubmodel) {
  for (const std::string& model : {kReference, kMatMamba}) {
    const std::string pair = model == kReference ? "64,512" : "32,64x4,128x4";
    const Json wide =
        expect_done(generate(model, {"--widths", pair.substr(pair.find(',') + 1)})).json();
    const Json all = expect_done(generate(model, {"--adaptive", pair, "--margin", "1"})).json();
    EXPECT_EQ(all["tokens"], wide["tokens"]);
    EXPECT_EQ(all["wide_tokens"], all["computed_tokens"]);
    const Json none = expect_done(generate(model, {"--adaptive", pair, "--margin", "0"})).json();
    EXPECT_EQ(none["wide_tokens"], 0);
    const Json some = expect_done(generate(model, {"--adaptive", pair, "--margin", "0.5"})).json();
    EXPECT_GT(some["wide_tokens"], 0);
    EXPECT_LT(some["wide_tokens"], some["computed_tokens"]);
  }
}

TEST_F(Elastic, OptionsThatContradictAreRefused) {
  const auto refused = [&](std::vector<std::string> more, const char* part) {
    more.insert(more.begin(), {"generate", kReference, "--prompt", "a"});
    expect_refused(more, 2, part);
  };
  refused({"--draft", "64", "--then", "3:64"}, "one of");
  refused({"--draft-tokens", "3"}, "--draft");
  refused({"--margin", "0.3"}, "--adaptive");
  refused({"--adaptive", "64,512", "--widths", "64"}, "--widths");
  refused({"--adaptive", "64"}, "64,512");
  refused({"--adaptive", "64,513"}, "64,513");
  refused({"--adaptive", "512,64"}, "narrower");
  refused({"--adaptive", "64,64"}, "narrower");
  for (const char* then : {"64", "x:64", "0:64", ":64", "5:", "3:513"}) {
    refused({"--then", then}, then[0] == '3' ? "513" : "--then");
  }
  refused({"--then", "9:64", "--then", "9:128"}, "ascend");
  refused({"--draft", "513"}, "513");
}

TEST_F(Elastic, TheBestDraftIsChosenAndMeasured) {
  const std::string data = kReference + "/search.bin";
  expect_refused({"draft", kReference, "--db", path("none.db")}, 1, "none.db");
  expect_done({"eval", kReference, "--data", data, "--max-tokens", "2049", "--widths", "64x8",
               "--widths", "128x8", "--widths", "512x8", "--metric", "acceptance", "--db", db_});
  expect_refused({"draft", kReference, "--db", db_}, 2, "mixnmatch latency");
  expect_done({"latency", kReference, "--repeats", "5", "--length", "16", "--db", db_});
  const Json json = expect_done({"draft", kReference, "--db", db_, "--check", data, "--prompts",
                                 "2", "--max-new-tokens", "24", "--json"})
                        .json();
  EXPECT_EQ(json["verifier"], "512x8");
  ASSERT_GE(json["drafts"].size(), 1u);
  double last = 1e9;
  for (const Json& draft : json["drafts"]) {
    EXPECT_LE(draft["expected_speedup"], last);
    last = draft["expected_speedup"];
    EXPECT_GT(draft["acceptance"], 0);
    EXPECT_GT(draft["cost"], 0);
  }
  EXPECT_EQ(json["check"]["tokens"], 48);
  for (const char* figure : {"predicted_speedup", "formula_speedup", "measured_speedup"}) {
    EXPECT_GT(json["check"][figure], 0) << figure;
  }
  // The same tokens as numbers, which only the user can say.
  std::string wide;
  for (const char byte : slurp(data).substr(0, 4096)) wide += {byte, '\0'};
  spew(path("u16.bin"), wide);
  const Json again =
      expect_done({"draft", kReference, "--db", db_, "--check", path("u16.bin"), "--token-format",
                   "u16", "--prompts", "2", "--max-new-tokens", "24", "--json"})
          .json();
  EXPECT_EQ(again["check"]["acceptance"], json["check"]["acceptance"]);
  expect_refused({"draft", kReference, "--db", db_, "--widths", "64"}, 2, "--data");
  expect_refused({"draft", kReference, "--db", db_, "--data", data}, 2, "--widths");
  expect_refused({"draft", kReference, "--db", db_, "--widths", "64", "--data", data}, 2,
                 "faster than 64x8");
  expect_refused({"draft", kReference, "--db", db_, "--widths", "513", "--data", data}, 2, "513");
}

// Two routes to the acceptance against a narrower verifier: measured within the whole model, and
// within the verifier exported, of which it is the whole.
TEST_F(Elastic, ADraftOfANarrowerVerifierIsMeasuredAgainstIt) {
  const std::string data = kReference + "/search.bin", verifier = "256x4,128x4";
  const std::string exported = path("verifier"), db = path("of-verifier.db");
  const std::vector<std::string> of_data = {"--data", data, "--max-tokens", "2049"};
  const auto with = [](std::vector<std::string> words, const std::vector<std::string>& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  const std::vector<std::string> narrow = {"--widths", "64x8", "--widths", "128x4,64x4"};
  expect_done(with(with({"eval", kReference, "--db", db_, "--widths", "512x8"}, narrow), of_data));
  expect_done({"latency", kReference, "--repeats", "5", "--length", "16", "--db", db_});
  const Json within =
      expect_done(with({"draft", kReference, "--db", db_, "--widths", verifier, "--json"}, of_data))
          .json();
  EXPECT_EQ(within["verifier"], verifier);
  ASSERT_EQ(within["drafts"].size(), 2u);  // the whole model is not faster

  expect_done({"export", kReference, "--widths", verifier, "--out", exported});
  expect_done(
      with(with({"eval", exported, "--db", db, "--metric", "acceptance"}, narrow), of_data));
  expect_done({"latency", exported, "--repeats", "5", "--length", "16", "--db", db});
  const Json of_export = expect_done({"draft", exported, "--db", db, "--json"}).json();
  ASSERT_EQ(of_export["drafts"].size(), 2u);
  for (const Json& draft : within["drafts"]) {
    const auto same = std::ranges::find_if(
        of_export["drafts"], [&](const Json& other) { return other["widths"] == draft["widths"]; });
    ASSERT_NE(same, of_export["drafts"].end()) << draft;
    EXPECT_NEAR(draft["acceptance"], (*same)["acceptance"].get<double>(), 1e-5) << draft;
  }
}

}  // namespace
}  // namespace mnm::test
