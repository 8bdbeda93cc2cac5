// The main job with every command, on a tiny random checkpoint.
#include <cmath>
#include <set>

#include "tests/end_to_end/workshop.h"

namespace mnm::test {
namespace {

using Json = nlohmann::json;

TEST_F(Workshop, InspectShowsSpaceAndExactCosts) {
  const Json json = expect_done({"inspect", model_, "--json"}).json();
  EXPECT_EQ(json["family"], "llama");
  EXPECT_EQ(json["layers"], 4);
  EXPECT_EQ(json["submodels"], 256);
  ASSERT_EQ(json["uniform"].size(), 4u);
  std::int64_t parameters = 0;
  for (const TestTensor& t : llama_.tensors())
    parameters += static_cast<std::int64_t>(t.elements());
  EXPECT_EQ(json["uniform"][3]["params"], parameters);
  EXPECT_EQ(json["uniform"][3]["bytes"], 4 * parameters);
  EXPECT_EQ(json["uniform"][0]["params"].get<std::int64_t>(), parameters - 4 * 3 * 16 * (32 - 4));
  const Json half = expect_done({"inspect", model_, "--dtype", "bf16", "--json"}).json();
  EXPECT_EQ(half["uniform"][3]["bytes"], 2 * parameters);
  const std::string text = expect_done({"inspect", model_}).out;
  for (const char* part : {"4 layers", "4, 8, 16, 32", "256", "32x4"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
}

TEST_F(Workshop, InspectTakesGranularitiesFromTheUserWhereTheConfigHasNone) {
  TinyLlama plain;
  plain.granularities = {};
  const std::string model = plain.write(dir_ / "plain").string();
  EXPECT_EQ(expect_done({"inspect", model, "--json"}).json()["submodels"], 1);
  EXPECT_EQ(
      expect_done({"inspect", model, "--granularities", "1/4,1/2,1", "--json"}).json()["submodels"],
      27);
  expect_refused({"inspect", model, "--granularities", "8,64"}, 2, "64");
}

TEST_F(Workshop, EvalSharedAndOneByOneAgree) {
  const std::vector<std::string> common = {
      "eval",     model_,    "--data",   search_,    "--context",     "32",        "--json",
      "--widths", "uniform", "--widths", "4x2,32x2", "--consistency", "--threads", "1"};
  const Json shared = expect_done(common).json();
  std::vector<std::string> alone = common;
  alone.push_back("--one-by-one");
  const Json single = expect_done(alone).json();
  ASSERT_EQ(shared.size(), 5u);
  ASSERT_EQ(single.size(), 5u);
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(shared[i]["widths"], single[i]["widths"]);
    for (const char* key : {"loss", "loss_se", "kl", "agreement"}) {
      EXPECT_NEAR(shared[i][key].get<double>(), single[i][key].get<double>(), 2e-5) << key;
    }
  }
  EXPECT_NEAR(shared[3]["kl"].get<double>(), 0, 1e-6) << "the full model against itself";
  EXPECT_EQ(shared[3]["agreement"], 1.0);
  EXPECT_TRUE(shared[0]["difference"].is_null());
  EXPECT_NEAR(shared[1]["difference"].get<double>(),
              shared[1]["loss"].get<double>() - shared[0]["loss"].get<double>(), 1e-6);
  EXPECT_NEAR(shared[1]["perplexity"].get<double>(), std::exp(shared[1]["loss"].get<double>()),
              1e-3);
}

TEST_F(Workshop, FromSearchToAFrontAPictureAComparisonAndAnExport) {
  const Json found = expect_done(search({"--strategy", "grid,least-slope", "--budget", "18K",
                                         "--max-evaluations", "256", "--json"},
                                        db_))
                         .json();
  EXPECT_EQ(found["confirmed"], true);
  ASSERT_FALSE(found["best"].is_null());
  EXPECT_LE(found["best"]["params"].get<std::int64_t>(), 18000);
  EXPECT_FALSE(found["best"]["confirm_loss"].is_null());
  EXPECT_GT(found["best"]["confirm_loss_se"].get<double>(), 0);

  // The front against brute force over every record.
  const Json all =
      expect_done({"pareto", "--db", db_, "--data", "search", "--all", "--json"}).json();
  const Json front = expect_done({"pareto", "--db", db_, "--data", "search", "--json"}).json();
  std::set<std::string> expected, actual;
  for (const Json& a : all) {
    bool beaten = false;
    for (const Json& b : all) {
      beaten = beaten ||
               (b["params"] <= a["params"] && b["loss"] <= a["loss"] &&
                (b["params"] < a["params"] || b["loss"] < a["loss"] || b["record"] < a["record"]));
    }
    if (!beaten) expected.insert(a["widths"].get<std::string>());
  }
  for (const Json& record : front) actual.insert(record["widths"].get<std::string>());
  EXPECT_EQ(actual, expected);

  // CSV says the same as JSON.
  const std::string csv = expect_done({"pareto", "--db", db_, "--data", "search", "--csv"}).out;
  EXPECT_EQ(static_cast<std::size_t>(std::count(csv.begin(), csv.end(), '\n')), front.size() + 1);

  expect_done({"pareto", "--db", db_, "--data", "search", "--svg", path("front.svg"), "--npy",
               path("losses.npy")});
  EXPECT_EQ(slurp(path("front.svg")).find("<svg "), 0u);
  EXPECT_EQ(slurp(path("losses.npy")).size() % 64, (4 * all.size()) % 64);
  expect_refused({"pareto", "--db", db_, "--svg", path("front.svg")}, 1, "--force");

  // Paired, from the store alone.
  const std::string best = found["best"]["widths"].get<std::string>();
  const Json compared =
      expect_done({"compare", "--db", db_, best, "4x4", "--data", "confirm", "--json"}).json();
  ASSERT_EQ(compared.size(), 1u);
  EXPECT_NEAR(compared[0]["difference"].get<double>(),
              compared[0]["a_loss"].get<double>() - compared[0]["b_loss"].get<double>(), 1e-6);

  const Result exported = expect_done(
      {"export", model_, "--best", "--budget", "18K", "--db", db_, "--out", path("best")});
  EXPECT_NE(exported.out.find("from_pretrained(\"" + path("best") + "\""), std::string::npos);
  EXPECT_NE(exported.out.find("checked: "), std::string::npos);
  const Json config = Json::parse(slurp(path("best/config.json")));
  EXPECT_EQ(config["mixnmatch"]["widths"], best);
  EXPECT_EQ(config["mixnmatch"]["score"]["loss"], found["best"]["confirm_loss"]);
  EXPECT_EQ(config["mixnmatch"]["source"]["fingerprint"],
            expect_done({"inspect", model_, "--json"}).json()["fingerprint"]);
  EXPECT_EQ(expect_done({"inspect", path("best"), "--json"}).json()["provenance"],
            config["mixnmatch"]);

  const Json runs = expect_done({"runs", "--db", db_, "--json"}).json();
  ASSERT_EQ(runs["artifacts"].size(), 1u);
  EXPECT_EQ(runs["artifacts"][0]["widths"], best);
  EXPECT_EQ(runs["artifacts"][0]["check"]["tensors_equal"], true);
  EXPECT_EQ(runs["runs"].size(), 3u);  // two strategies and the confirmation

  // What was written scores what the search scored.
  const Json again = expect_done({"eval", path("best"), "--data", confirm_, "--context", "32",
                                  "--widths", best, "--json", "--threads", "1"})
                         .json();
  EXPECT_NEAR(again[0]["loss"].get<double>(), found["best"]["confirm_loss"].get<double>(), 2e-5);
  EXPECT_EQ(again[0]["params"], found["best"]["params"]);
}

// Any metric chooses the front, and any is compared, paired, by the store alone.
TEST_F(Workshop, EveryMetricIsSearchedComparedAndShown) {
  for (const std::string metric : {"accuracy", "kl", "agreement", "acceptance"}) {
    const Json found = expect_done(search({"--strategy", "least-slope", "--metric", metric,
                                           "--max-evaluations", "16", "--json"},
                                          db_))
                           .json();
    EXPECT_EQ(found["metric"], metric);
    ASSERT_FALSE(found["best"].is_null()) << metric;
    const double sign = metric == "kl" ? 1 : -1;
    const Json front =
        expect_done({"pareto", "--db", db_, "--data", "search", "--metric", metric, "--json"})
            .json();
    ASSERT_FALSE(front.empty()) << metric;
    for (std::size_t i = 1; i < front.size(); ++i) {
      EXPECT_LT(sign * front[i][metric].get<double>(), sign * front[i - 1][metric].get<double>())
          << metric;
    }
    EXPECT_EQ(front.back()["widths"], found["best"]["widths"]) << metric;
    const Json compared = expect_done({"compare", "--db", db_, "32x4", "4x4", "--data", "confirm",
                                       "--metric", metric, "--json"})
                              .json();
    ASSERT_EQ(compared.size(), 1u) << metric;
    EXPECT_NEAR(compared[0]["difference"].get<double>(),
                compared[0]["a_" + metric].get<double>() - compared[0]["b_" + metric].get<double>(),
                1e-6)
        << metric;
    EXPECT_FALSE(compared[0]["difference_se"].is_null()) << metric;
  }
  const Json scores =
      expect_done({"eval", model_, "--data", search_, "--context", "32", "--widths", "32x4",
                   "--widths", "4x4", "--metric", "acceptance", "--json", "--threads", "1"})
          .json();
  EXPECT_NEAR(scores[0]["acceptance"].get<double>(), 1, 1e-5) << "the full model against itself";
  EXPECT_NEAR(scores[1]["difference"].get<double>(),
              scores[1]["acceptance"].get<double>() - scores[0]["acceptance"].get<double>(), 1e-6);
  // Total variation is 1 - acceptance, and Pinsker bounds it by the divergence.
  EXPECT_LE(1 - scores[1]["acceptance"].get<double>(),
            std::sqrt(scores[1]["kl"].get<double>() / 2) + 1e-6);
}

// Widths that nobody trained are searched too; the picture marks those that somebody did.
TEST_F(Workshop, SearchesBetweenTheGranularities) {
  const std::vector<std::string> between = {"--strategy", "constant,linear-decay", "--widths-step",
                                            "4", "--json"};
  expect_done(search(between, db_));
  const Json all =
      expect_done({"pareto", "--db", db_, "--data", "search", "--all", "--json"}).json();
  std::set<std::string> widths;
  for (const Json& record : all) widths.insert(record["widths"].get<std::string>());
  for (const char* uniform : {"4x4", "8x4", "12x4", "16x4", "20x4", "24x4", "28x4", "32x4"}) {
    EXPECT_TRUE(widths.contains(uniform)) << uniform;
  }
  EXPECT_TRUE(widths.contains("32,28,24,20"));

  expect_done({"pareto", "--db", db_, "--data", "search", "--svg", path("front.svg")});
  const std::string picture = slurp(path("front.svg"));
  std::set<std::string> anchors;
  const std::string start = "class=\"uniform\"><title>uniform ";
  for (std::size_t at = picture.find(start); at != std::string::npos;
       at = picture.find(start, at + 1)) {
    const std::size_t from = at + start.size();
    anchors.insert(picture.substr(from, picture.find('<', from) - from));
  }
  EXPECT_EQ(anchors, (std::set<std::string>{"4", "8", "16", "32"}));
  expect_refused(search({"--widths-step", "-1"}, db_), 2, "widths-step");
}

TEST_F(Workshop, ExportIsReproducibleAndSaysWhatItWouldDo) {
  const std::vector<std::string> common = {"export",   model_,      "--widths",
                                           "8x2,32x2", "--threads", "1"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), common.begin(), common.end());
    return more;
  };
  const std::string dry = expect_done(with({"--out", path("x"), "--dry-run"})).out;
  EXPECT_FALSE(std::filesystem::exists(path("x")));
  expect_done(with({"--out", path("x")}));
  expect_done(with({"--out", path("y")}));
  for (const auto& entry : std::filesystem::directory_iterator(path("x"))) {
    const std::string name = entry.path().filename().string();
    EXPECT_EQ(slurp(entry.path()), slurp(path("y/" + name))) << name;
    EXPECT_NE(dry.find(name), std::string::npos) << name;
    EXPECT_NE(dry.find(std::to_string(entry.file_size())), std::string::npos)
        << name << " has " << entry.file_size() << "\n"
        << dry;
  }
  expect_refused(with({"--out", path("x")}), 1, "--force");
  expect_done(with({"--out", path("x"), "--force", "--dtype", "bf16", "--shard-size", "8K"}));
  EXPECT_TRUE(std::filesystem::exists(path("x/model.safetensors.index.json")));
  expect_done(with({"--out", path("z"), "--no-check"}));
  EXPECT_FALSE(std::filesystem::exists(path("z/probe.safetensors")));
  EXPECT_EQ(slurp(path("z/model.safetensors")), slurp(path("y/model.safetensors")));
}

TEST_F(Workshop, ExportsOfEveryVariantCheckThemselves) {
  for (TinyLlama llama : tiny_llamas()) {
    const std::string model = llama.write(dir_ / ("v-" + llama.name)).string();
    std::string widths = "32x" + std::to_string(llama.layers);
    if (llama.layers == 3 && !llama.granularities.empty()) widths = "4,16,32";
    const Result result = mixnmatch(
        {"export", model, "--widths", widths, "--out", path("e-" + llama.name), "--threads", "1"});
    EXPECT_EQ(result.status, 0) << llama.name << ": " << result.err;
    EXPECT_NE(result.out.find("checked: "), std::string::npos) << llama.name;
  }
}

TEST_F(Workshop, ExportToGguf) {
  const auto with = [&](const std::string& out, std::vector<std::string> more) {
    std::vector<std::string> all = {"export",   model_,  "--format", "gguf",      "--widths",
                                    "8x2,32x2", "--out", path(out),  "--threads", "1"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const std::string dry = expect_done(with("g", {"--dtype", "f16", "--dry-run"})).out;
  EXPECT_FALSE(std::filesystem::exists(path("g")));
  const Result result = expect_done(with("g", {"--dtype", "f16", "--db", db_}));
  EXPECT_NE(result.out.find("checked: "), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("llama_cpp.Llama(\"" + path("g/model.gguf")), std::string::npos);
  for (const char* name : {"model.gguf", "probe.safetensors"}) {
    const auto bytes = std::filesystem::file_size(path("g") + "/" + name);
    EXPECT_NE(dry.find(std::to_string(bytes)), std::string::npos) << name << "\n" << dry;
  }
  const Json runs = expect_done({"runs", "--db", db_, "--json"}).json();
  EXPECT_EQ(runs["artifacts"][0]["format"], "gguf");
  expect_done(with("again", {"--dtype", "f16", "--no-check"}));
  EXPECT_EQ(slurp(path("again/model.gguf")), slurp(path("g/model.gguf")));
  expect_refused(with("g", {}), 1, "--force");
  expect_refused(with("h", {"--dtype", "q8_0"}), 1, "blocks have 32");
  expect_refused(with("h", {"--dtype", "q4_0"}), 2, "q4_0");
  EXPECT_FALSE(std::filesystem::exists(path("h")));
}

TEST_F(Workshop, TokenizeMakesFilesThatEvalReads) {
  std::filesystem::create_directory(path("corpus"));
  for (int i = 0; i < 30; ++i) {
    spew(path("corpus/f" + std::to_string(i) + ".txt"),
         "text number " + std::to_string(i * 7919) +
             std::string(200, static_cast<char>('a' + i % 26)));
  }
  const Json parts =
      expect_done({"tokenize", path("corpus"), "--glob", "*.txt", "--train", path("train.bin"),
                   "--search", path("s.bin"), "--search-tokens", "256", "--confirm", path("c.bin"),
                   "--confirm-tokens", "256", "--json"})
          .json();
  EXPECT_EQ(parts.size(), 3u);
  EXPECT_EQ(std::filesystem::file_size(path("s.bin")), 257u);
  // A name with the end of a line adds no line.
  spew(path("corpus/b\ntrain\tforged\\.md"), "text");
  expect_done({"tokenize", path("corpus"), "--glob", "*.md", "--train", path("other.bin"), "--list",
               path("list.txt")});
  EXPECT_EQ(slurp(path("list.txt")), "train\tb\\x0atrain\\x09forged\\\\.md\n");
  EXPECT_EQ(expect_done({"eval", model_, "--data", path("s.bin"), "--context", "32", "--widths",
                         "8", "--json", "--threads", "1"})
                .json()
                .size(),
            1u);
  expect_refused({"tokenize", path("corpus"), "--train", path("train.bin")}, 1, "--force");
}

TEST_F(Workshop, TokenizeWithTheTokenizerOfACheckpoint) {
  std::filesystem::create_directory(path("words"));
  spew(path("words/config.json"), R"({"vocab_size": 300, "eos_token_id": [299, 7]})");
  spew(path("words/tokenizer.json"),
       R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
           "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
           "decoder": {"type": "ByteLevel"}})");
  std::filesystem::create_directory(path("texts"));
  spew(path("texts/1.txt"), "abba");
  spew(path("texts/2.txt"), "bab");
  spew(path("texts/3.txt"), "\xff is not UTF-8");
  const auto tokens_as = [&](const std::string& format) {
    Result done = expect_done({"tokenize", path("texts"), "--model", path("words"), "--force",
                               "--train", path("t.bin"), "--token-format", format});
    EXPECT_NE(done.err.find("1 of 3 files"), std::string::npos) << done.err;
    return slurp(path("t.bin"));
  };
  const std::uint16_t expected[] = {2, 1, 0, 299, 1, 2, 299};
  const std::string narrow(reinterpret_cast<const char*>(expected), sizeof expected);
  EXPECT_EQ(tokens_as("u16"), narrow);
  EXPECT_EQ(tokens_as("llm.c").substr(1024), narrow);
  EXPECT_EQ(tokens_as("u32").size(), 2 * narrow.size());
  expect_refused({"tokenize", path("texts"), "--model", path("words"), "--force", "--train",
                  path("t.bin"), "--token-format", "bytes"},
                 2, "2 bytes");
  expect_refused({"tokenize", path("texts"), "--model", path("texts"), "--train", path("u.bin")}, 2,
                 "tokenizer.json");
  spew(path("words/config.json"), R"({"vocab_size": 300, "eos_token_id": 300})");
  expect_refused({"tokenize", path("texts"), "--model", path("words"), "--train", path("u.bin")}, 1,
                 "token 300 cannot end texts");
  spew(path("words/tokenizer.json"), R"({"model": {"type": "Unigram"}})");
  expect_refused({"tokenize", path("texts"), "--model", path("words"), "--train", path("u.bin")}, 1,
                 "cannot tokenize with");
}

}  // namespace
}  // namespace mnm::test
