// A checkpoint four times as large as the memory it may take.
#include <fmt/format.h>

#include "tests/end_to_end/workshop.h"

namespace mnm::test {
namespace {

namespace fs = std::filesystem;

// What a program that scores takes without any weights: LibTorch, its threads, their heaps.
constexpr long kProgramKib = 256 * 1024;
constexpr long kLimitKib = 512 * 1024;

// The same arithmetic on the same rows, but not always as many rows in one product, and libraries
// sum in an order that depends on that: logits of about ten then differ by a few of their last
// places, 2^-20 each.
void expect_same_scores(const std::string& streamed, const std::string& whole) {
  nlohmann::json left = nlohmann::json::parse(streamed), right = nlohmann::json::parse(whole);
  ASSERT_EQ(left.size(), right.size());
  for (std::size_t i = 0; i < left.size(); ++i) {
    for (const char* metric : {"loss", "loss_se", "kl", "kl_se"}) {
      EXPECT_NEAR(left[i][metric].get<double>(), right[i][metric].get<double>(), 0x1p-18)
          << metric << " of " << left[i]["widths"];
      left[i].erase(metric);
      right[i].erase(metric);
    }
    if (!left[i]["difference"].is_null() && !right[i]["difference"].is_null()) {
      for (const char* of_two : {"difference", "difference_se"}) {  // of two such losses
        EXPECT_NEAR(left[i][of_two].get<double>(), right[i][of_two].get<double>(), 0x1p-17)
            << of_two << " of " << left[i]["widths"];
        left[i].erase(of_two);
        right[i].erase(of_two);
      }
      left[i].erase("z");  // their quotient
      right[i].erase("z");
    }
    left[i].erase("perplexity");  // the loss's
    right[i].erase("perplexity");
  }
  EXPECT_EQ(left, right);
}

TEST_F(Workshop, TwoGigabytesAreScoredInAQuarterOfThem) {
  nlohmann::json config = nlohmann::json::parse(slurp(path("model/config.json")));
  config["hidden_size"] = 1024;
  config["num_attention_heads"] = config["num_key_value_heads"] = 8;
  config["head_dim"] = 128;
  config["intermediate_size"] = 6144;
  config["matformer_granularities"] = {1536, 3072, 6144};
  config["num_hidden_layers"] = 22;
  const std::string shape = path("shape.json"), model = path("large");
  spew(shape, config.dump());
  expect_done({"random", shape, "--out", model, "--dtype", "f32"});
  ASSERT_GT(fs::file_size(dir_ / "large/model.safetensors"), 2'000'000'000u);

  const std::vector<std::string> command = {"eval",         model,
                                            "--data",       search_,
                                            "--context",    "4",
                                            "--max-tokens", "16",
                                            "--widths",     "uniform",
                                            "--widths",     "1536x11,6144x11",
                                            "--widths",     "6144x11,1536x11",
                                            "--threads",    "2",
                                            "--json",       "--consistency"};
  const Result whole = expect_done(command);
  EXPECT_EQ(whole.err.find("streamed"), std::string::npos) << whole.err;
  EXPECT_GT(whole.max_resident_kib, 3 * kLimitKib);

  std::vector<std::string> limited = command;
  limited.insert(limited.end(), {"--memory", "512MiB"});
  const Result streamed = expect_done(limited);
  EXPECT_NE(streamed.err.find("do not fit"), std::string::npos) << streamed.err;
  EXPECT_LT(streamed.max_resident_kib, kLimitKib + kProgramKib);
  fmt::print("peak memory {} MiB within the limit, {} MiB without\n",
             streamed.max_resident_kib >> 10, whole.max_resident_kib >> 10);
  expect_same_scores(streamed.out, whole.out);

  std::vector<std::string> small = command;
  small.insert(small.end(), {"--memory", "100MiB"});
  expect_refused(small, 1, "allow more memory");
}

// A vocabulary as large as all layers: 32 MiB each for embedding and head in f32, 1.2 per layer.
TEST_F(Workshop, EmbeddingAndHeadAreReadInPartsWhereMemoryDoesNotHoldThem) {
  for (const bool tied : {false, true}) {
    TinyLlama llama;
    llama.layers = 3;
    llama.hidden = 128;
    llama.full = 512;
    llama.granularities = {128, 512};
    llama.vocab = 1 << 16;
    llama.tied = tied;
    const std::string model = llama.write(dir_ / (tied ? "tied" : "untied")).string();
    const std::vector<std::string> command = {"eval",           model,
                                              "--data",         search_,
                                              "--context",      "16",
                                              "--max-tokens",   "64",
                                              "--widths",       "uniform",
                                              "--threads",      "1",
                                              "--json",         "--consistency",
                                              "--token-format", "bytes"};
    std::vector<std::string> limited = command;
    limited.insert(limited.end(), {"--memory", tied ? "38MiB" : "70MiB"});
    const Result streamed = expect_done(limited);
    EXPECT_NE(streamed.err.find("embedding and head read anew"), std::string::npos) << streamed.err;
    expect_same_scores(streamed.out, expect_done(command).out);
  }
}

TEST_F(Workshop, StreamingIsAnOption) {
  const std::vector<std::string> command = {"eval", model_,      "--data", search_, "--context",
                                            "32",   "--threads", "1",      "--json"};
  std::vector<std::string> streamed = command;
  streamed.push_back("--stream");
  const Result result = expect_done(streamed);
  EXPECT_NE(result.err.find("streamed"), std::string::npos) << result.err;
  EXPECT_EQ(result.out, expect_done(command).out);
}

}  // namespace
}  // namespace mnm::test
