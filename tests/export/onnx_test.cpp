#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <regex>
#include <set>
#include <variant>

#include "export/onnx_layers.h"
#include "export/onnx_writer.h"
#include "families/open_model.h"
#include "tests/export/exported.h"
#include "tests/support/error_of.h"
#include "tests/support/tiny_llama.h"
#include "tests/support/tiny_mamba2.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::contains;
using test::error_of;
using test::files_in;
using test::slurp;
using test::spew;
using test::TempDir;
using test::TinyLlama;

std::unique_ptr<PlannedExport> planned(const OpenedModel& opened, const Widths& widths,
                                       Dtype dtype) {
  return plan_onnx(
      opened.model, opened.checkpoint, widths,
      std::get<OnnxModel>(opened.family->in_format("onnx", opened.model, widths, dtype)),
      opened.family->huggingface_config(opened.model, widths, dtype),
      {dtype, {{"mixnmatch.widths", to_string(widths)}}});
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

TEST(OnnxBuilder, NamesTellWhereANodeBelongs) {
  OnnxBuilder graph("g", Dtype::kBF16);
  const OnnxValue x = graph.input("x", OnnxType::kF32, {"rows", 4});
  OnnxValue y;
  {
    const auto layer = graph.scope("layers.3");
    const auto mlp = graph.scope("mlp");
    y = onnx_linear(graph, x, "down", true);
    graph.add(y, graph.number(2));
    y = graph.add(y, graph.number(2));
  }
  const OnnxValue same = graph.transpose(y, {0, 1});
  graph.output("y", y, OnnxType::kF32, {"rows", 4});
  graph.output("again", y, OnnxType::kF32, {"rows", 4});
  graph.output("x_too", x, OnnxType::kF32, {"rows", 4});
  const OnnxGraph done = graph.finish();
  std::vector<std::string> names;
  for (const OnnxNode& node : done.nodes) names.push_back(node.name);
  EXPECT_EQ(names,
            (std::vector<std::string>{"/down.weight/f32", "/down.bias/f32", "/layers.3/mlp/Gemm",
                                      "/layers.3/mlp/Add", "/layers.3/mlp/Add_1", "/Transpose",
                                      "/Identity", "/Identity_1"}));
  EXPECT_EQ(done.nodes[2].outputs.front(), "/layers.3/mlp/Gemm_output_0");
  EXPECT_EQ(done.nodes[4].outputs.front(), "y");
  EXPECT_EQ(done.nodes[5].inputs.front(), "y");
  EXPECT_EQ(done.nodes[6].outputs.front(), "again");
  EXPECT_EQ(done.nodes[7].inputs.front(), "x");
  EXPECT_EQ(done.weights, (std::vector<std::string>{"down.weight", "down.bias"}));
  EXPECT_EQ(done.constants.size(), 1u);
}

// One row of x after another is added to a state: what a recurrent family needs.
OnnxGraph running_sums() {
  OnnxBuilder graph("sums", Dtype::kF32);
  const OnnxValue x = graph.input("x", OnnxType::kF32, {"rows", 4});
  const OnnxValue zero = graph.vector("zero", {0, 0, 0, 0}, OnnxType::kF32);
  OnnxBuilder body = graph.body("step");
  const OnnxValue before = body.input("before", OnnxType::kF32, {4});
  const OnnxValue row = body.input("row", OnnxType::kF32, {4});
  const OnnxValue after = body.add(before, body.mul(row, body.weight("scale")));
  body.output("after", after, OnnxType::kF32, {4});
  body.output("sum", after, OnnxType::kF32, {4});
  const auto out = graph.op("Scan", {zero, x}, 2,
                            {{"body", body.finish_body()}, {"num_scan_inputs", std::int64_t{1}}});
  graph.output("sums", out[1], OnnxType::kF32, {"rows", 4});
  return graph.finish();
}

TEST(OnnxBuilder, ABodySeesItsGraphAndTheLibraryTakesIt) {
  const TempDir dir;
  const OnnxGraph graph = running_sums();
  EXPECT_EQ(graph.weights, std::vector<std::string>{"scale"});
  const std::vector<OnnxWeight> weights = {{"scale", Dtype::kF32, {4}, 0}};
  spew(dir / "data", std::string(16, '\0'));
  spew(dir / "sums.onnx", encode_onnx(graph, weights, "data", {{"key", "value"}}));
  EXPECT_EQ(error_of([&] { check_onnx(dir / "sums.onnx"); }), "");
  const std::string file = slurp(dir / "sums.onnx");
  const OnnxFile read = parse_onnx(bytes_of(file), "f", "data", 16);
  EXPECT_EQ(read.weights, weights);
  EXPECT_EQ(read.metadata, (OnnxMetadata{{"key", "value"}}));
}

TEST(OnnxFormat, TheLibraryRefusesWhatIsNoGraph) {
  const TempDir dir;
  const auto refusal = [&](auto&& change) {
    OnnxBuilder builder("g", Dtype::kF32);
    const OnnxValue x = builder.input("x", OnnxType::kF32, {"rows", 4});
    builder.output("y", builder.op("MatMul", {x, builder.weight("w")}), OnnxType::kF32,
                   {"rows", 8});
    OnnxGraph graph = builder.finish();
    std::vector<OnnxWeight> weights = {{"w", Dtype::kF32, {4, 8}, 0}};
    change(graph, weights);
    spew(dir / "data", std::string(4096, '\0'));
    spew(dir / "g.onnx", encode_onnx(graph, weights, "data", {}));
    return error_of([&] { check_onnx(dir / "g.onnx"); });
  };
  EXPECT_EQ(refusal([](auto&, auto&) {}), "");
  const std::pair<const char*, std::string> cases[] = {
      {"MatMul", refusal([](auto&, auto& weights) {
         weights[0].shape = {5, 8};
       })},
      {"", refusal([](auto& graph, auto&) {
         graph.outputs[0].shape = {"rows", 9};
       })},
      {"", refusal([](auto& graph, auto&) { graph.outputs[0].type = OnnxType::kI64; })},
      {"MutMal", refusal([](auto& graph, auto&) { graph.nodes[0].op = "MutMal"; })},
      {"gone", refusal([](auto& graph, auto&) { graph.nodes[0].inputs[0] = "gone"; })},
  };
  for (const auto& [phrase, error] : cases) {
    EXPECT_TRUE(contains(error, "the ONNX library refuses") && contains(error, phrase))
        << phrase << ": " << error;
    EXPECT_EQ(error.find('\n'), error.npos);
  }
  OnnxBuilder builder("g", Dtype::kF32);
  builder.output("y", builder.op("Neg", {builder.weight("w")}), OnnxType::kF32, {4});
  spew(dir / "g.onnx",
       encode_onnx(builder.finish(), std::vector<OnnxWeight>{{"w", Dtype::kF32, {4}, 0}},
                   "elsewhere", {}));
  EXPECT_TRUE(contains(error_of([&] { check_onnx(dir / "g.onnx"); }), "elsewhere"));
}

// A weight of the name that an input, a constant or a node's result has.
TEST(OnnxFormat, NamesThatCollideAreRefused) {
  const TempDir dir;
  spew(dir / "data", std::string(4096, '\0'));
  const auto refusal = [&](const std::string& weight) {
    OnnxBuilder builder("g", Dtype::kF32);
    const OnnxValue x = builder.input("x", OnnxType::kF32, {"rows", 4});
    const OnnxValue half = builder.vector("half", {0.5f}, OnnxType::kF32);
    const OnnxValue y = builder.op("MatMul", {builder.mul(x, half), builder.weight("w")});
    builder.output("y", y, OnnxType::kF32, {"rows", 8});
    OnnxGraph graph = builder.finish();
    graph.weights.front() = weight;
    for (std::string& input : graph.nodes.back().inputs) input = input == "w" ? weight : input;
    const std::vector<OnnxWeight> weights = {{weight, Dtype::kF32, {4, 8}, 0}};
    spew(dir / "g.onnx", encode_onnx(graph, weights, "data", {}));
    return error_of([&] {
      check_onnx(dir / "g.onnx");
      parse_onnx(bytes_of(slurp(dir / "g.onnx")), "g.onnx", "data", 4096);
    });
  };
  EXPECT_EQ(refusal("w"), "");
  for (const char* taken : {"x", "y", "half", "/Mul_output_0"}) EXPECT_NE(refusal(taken), "");
}

// Every node of a graph and of the bodies in it, by what its name may be: the module it belongs to
// and its operator, numbered where a module has several; of a cast of a weight, the weight.
void check_names(const OnnxGraph& graph, std::set<std::string>& taken) {
  static const std::regex kPath("(/[a-zA-Z0-9_.]+)+");
  for (const OnnxNode& node : graph.nodes) {
    EXPECT_TRUE(taken.insert(node.name).second) << node.name << " names two nodes";
    EXPECT_TRUE(std::regex_match(node.name, kPath)) << node.name;
    const std::string last = node.name.substr(node.name.rfind('/') + 1);
    const bool of_weight =
        node.op == "Cast" && std::ranges::count(graph.weights, node.inputs.front()) == 1;
    if (of_weight) {
      EXPECT_EQ(node.name, "/" + node.inputs.front() + "/" + last);
      EXPECT_TRUE(last == "f32" || last == "f16") << node.name;
    } else {
      EXPECT_TRUE(std::regex_match(last, std::regex(node.op + "(_[0-9]+)?")))
          << node.name << " is a " << node.op;
    }
    for (const auto& [key, value] : node.attributes) {
      const auto* body = std::get_if<std::shared_ptr<const OnnxGraph>>(&value);
      if (body != nullptr) check_names(**body, taken);
    }
  }
}

TEST(Onnx, NodesAreNamedAfterTheirModuleAndTheirOperator) {
  std::size_t nodes = 0;
  const auto check = [&](const char* family, const nlohmann::json& config, Width width,
                         const std::string& expected) {
    const NestedModel model = family_named(family).describe(config, {});
    const Widths widths(model.space.layers.size(), width);
    for (const Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBF16}) {
      const OnnxModel onnx =
          std::get<OnnxModel>(family_named(family).in_format("onnx", model, widths, dtype));
      std::set<std::string> scorer, decoder;
      check_names(onnx.scorer, scorer);
      if (onnx.decoder) check_names(onnx.decoder->graph, decoder);
      nodes += scorer.size() + decoder.size();
      for (std::size_t layer = 0; layer < widths.size(); ++layer) {
        const std::string name = fmt::format("/layers.{}/{}", layer, expected);
        EXPECT_TRUE(scorer.contains(name)) << name;
        EXPECT_EQ(onnx.decoder.has_value(), decoder.contains(name)) << name;
      }
    }
  };
  for (const TinyLlama& tiny : test::tiny_llamas()) {
    SCOPED_TRACE(tiny.name);
    check("llama", tiny.config(), 32, "mlp/down_proj/Gemm");
  }
  for (const test::TinyMamba2& tiny : test::tiny_mamba2s()) {
    SCOPED_TRACE(tiny.name);
    check("mamba2", tiny.config(), tiny.full(), "mixer/out_proj/Gemm");
  }
  EXPECT_GT(nodes, 10'000u);
}

OnnxGraph weights_only(const std::vector<OnnxWeight>& weights) {
  OnnxGraph graph;
  graph.name = "weights";
  for (const OnnxWeight& weight : weights) graph.weights.push_back(weight.name);
  return graph;
}

TEST(OnnxFormat, OffsetsPassFourGigabytesAndModelsDoNotPassTwo) {
  const std::vector<OnnxWeight> weights = {
      {"first", Dtype::kF32, {1 << 20, 1 << 10}, 0},
      {"second", Dtype::kBF16, {3}, std::uint64_t{1} << 32},
      {"third", Dtype::kF16, {std::int64_t{1} << 32}, (std::uint64_t{1} << 32) + kOnnxAlignment}};
  const std::uint64_t end = (std::uint64_t{1} << 32) + kOnnxAlignment + (std::uint64_t{1} << 33);
  const OnnxGraph graph = weights_only(weights);
  const std::string file = encode_onnx(graph, weights, "data", {});
  EXPECT_TRUE(contains(file, "4294967296"));
  EXPECT_EQ(parse_onnx(bytes_of(file), "f", "data", end).weights, weights);
  EXPECT_TRUE(contains(error_of([&] { parse_onnx(bytes_of(file), "f", "data", end - 1); }),
                       "'third' ends past"));
  EXPECT_TRUE(contains(error_of([&] { encode_onnx(graph, weights, "data", {}, file.size() - 1); }),
                       "protobuf holds"));
  EXPECT_EQ(error_of([&] { encode_onnx(graph, weights, "data", {}, file.size()); }), "");
}

TEST(OnnxFormat, DamagedTablesAreRefused) {
  const std::vector<OnnxWeight> sound = {{"a", Dtype::kF32, {2, 3}, 0},
                                         {"b", Dtype::kF32, {1000}, kOnnxAlignment}};
  constexpr std::uint64_t kEnd = 2 * kOnnxAlignment;
  const auto refusal = [&](auto&& change, const std::string& location = "data") {
    std::vector<OnnxWeight> weights = sound;
    OnnxGraph graph = weights_only(weights);
    change(graph, weights);
    const std::string file = encode_onnx(graph, weights, location, {});
    return error_of([&] { parse_onnx(bytes_of(file), "f", "data", kEnd); });
  };
  const auto offset = [](std::uint64_t value) {
    return [value](auto&, auto& weights) { weights[1].offset = value; };
  };
  const auto nothing = [](auto&, auto&) {};
  EXPECT_EQ(refusal(nothing), "");
  EXPECT_TRUE(contains(refusal(offset(kOnnxAlignment + 4)), "no multiple"));
  EXPECT_TRUE(contains(refusal(offset(0)), "'a' and 'b' overlap"));
  EXPECT_TRUE(contains(refusal(offset(kEnd)), "ends past"));
  EXPECT_TRUE(contains(refusal(offset(~std::uint64_t{0} - kOnnxAlignment + 1)), "ends past"));
  EXPECT_TRUE(contains(refusal([](auto& graph, auto&) { graph.weights.push_back("a"); }), "twice"));
  EXPECT_TRUE(contains(refusal(nothing, "../data"), "'../data'"));
  EXPECT_TRUE(
      contains(refusal([](auto& graph, auto&) {
                 graph.constants.push_back({"a", OnnxType::kI64, {}, std::vector<std::int64_t>{1}});
               }),
               "twice"));
  EXPECT_TRUE(
      contains(error_of([&] { encode_onnx(weights_only(sound), {}, "data", {}); }), "no tensor"));

  // Numbers of the table, each made another one: "4000" is b's length, "4096" its offset.
  const std::string file = encode_onnx(weights_only(sound), sound, "data", {});
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string damaged = file;
    damaged.replace(damaged.find(from), from.size(), to);
    return error_of([&] { parse_onnx(bytes_of(damaged), "f", "data", kEnd); });
  };
  EXPECT_TRUE(contains(replaced("4000", "3996"), "has 3996 bytes"));
  EXPECT_TRUE(contains(replaced("4000", "-400"), "no number"));
  EXPECT_TRUE(contains(replaced("4096", "4e90"), "no number"));
  EXPECT_TRUE(contains(replaced("4096", "    "), "no number"));
}

TEST(Onnx, HoldsEverySliceOfEveryVariant) {
  const TempDir dir;
  std::size_t cases = 0;
  for (const TinyLlama& llama : test::tiny_llamas()) {
    const OpenedModel opened = open_model(llama.write(dir / "models" / llama.name));
    std::vector<Widths> choices = {Widths(static_cast<std::size_t>(llama.layers), 32)};
    if (llama.layers == 3 && !llama.granularities.empty()) choices.push_back({4, 32, 16});
    for (const Widths& widths : choices) {
      for (const Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBF16}) {
        if (dtype != Dtype::kF32 && widths.front() == 32) continue;
        SCOPED_TRACE(fmt::format("{} {} {}", llama.name, to_string(widths), to_string(dtype)));
        const fs::path place = dir / fmt::format("case-{}", ++cases);
        fs::create_directory(place);
        const auto plan = planned(opened, widths, dtype);
        std::uint64_t progress = 0;
        plan->write(opened.checkpoint, place, [&](const Progress& now) {
          return progress = static_cast<std::uint64_t>(now.done), true;
        });
        EXPECT_EQ(progress, plan->bytes());
        const auto files = files_in(place);
        ASSERT_EQ(files.size(), plan->files().size());
        for (const auto& [name, bytes] : plan->files()) EXPECT_EQ(files.at(name).size(), bytes);

        const OpenedModel written = open_model(plan->reopen(place));
        EXPECT_EQ(written.model.space.full(), widths);
        for (const TensorSlice& slice : plan->slices().tensors) {
          std::vector<float> expected = extract_f32(opened.checkpoint, slice);
          plan->round(slice, expected);
          const StoredTensor& tensor = written.checkpoint.at(slice.spec->name);
          EXPECT_EQ(test::values_of(written.checkpoint, tensor), expected) << slice.spec->name;
        }
        if (dtype != Dtype::kF16) continue;
        fs::create_directories(dir / "again");
        planned(opened, widths, dtype)->write(opened.checkpoint, dir / "again");
        EXPECT_TRUE(files_in(dir / "again") == files) << "other bytes the second time";
        fs::remove_all(dir / "again");
      }
    }
  }
  EXPECT_GT(cases, 70u);
}

TEST(Onnx, TheDecoderIsDescribedForGenaiAndTheTokenizerGoesAlong) {
  const TempDir dir;
  TinyLlama llama;
  llama.kv_heads = 2;
  llama.head_dim = 6;
  llama.write(dir / "model");
  spew(dir / "model/tokenizer.json", "{}");
  spew(dir / "model/genai_config.json", "of another export");
  const OpenedModel opened = open_model(dir / "model");
  const auto plan = planned(opened, {4, 8, 32}, Dtype::kF16);
  fs::create_directory(dir / "out");
  plan->write(opened.checkpoint, dir / "out");
  EXPECT_EQ(slurp(dir / "out/tokenizer.json"), "{}");
  const auto json = nlohmann::json::parse(slurp(dir / "out/genai_config.json"));
  EXPECT_EQ(json["search"]["past_present_share_buffer"], false);
  EXPECT_EQ(json["model"]["type"], "llama");
  EXPECT_EQ(json["model"]["context_length"], 64);
  EXPECT_EQ(json["model"]["vocab_size"], 50);
  EXPECT_EQ(json["model"]["eos_token_id"], 2);
  const nlohmann::json& decoder = json["model"]["decoder"];
  EXPECT_EQ(decoder["filename"], "model.onnx");
  EXPECT_EQ(decoder["num_hidden_layers"], 3);
  EXPECT_EQ(decoder["num_attention_heads"], 4);
  EXPECT_EQ(decoder["num_key_value_heads"], 2);
  EXPECT_EQ(decoder["head_size"], 6);
  EXPECT_EQ(decoder["hidden_size"], 16);
}

TEST(Onnx, DamagedFilesAreRefused) {
  const TempDir dir;
  TinyLlama llama;
  llama.layers = 1;
  const OpenedModel opened = open_model(llama.write(dir / "model"));
  const auto plan = planned(opened, {8}, Dtype::kF16);
  const fs::path out = dir / "out";
  fs::create_directory(out);
  plan->write(opened.checkpoint, out);
  const auto sound = files_in(out);
  const auto error_with = [&](const char* name, const std::string& bytes) {
    spew(out / name, bytes);
    const std::string error = error_of([&] { plan->reopen(out); });
    spew(out / name, sound.at(name));
    return error;
  };
  const std::string& data = sound.at(kOnnxData);
  EXPECT_TRUE(
      contains(error_with(kOnnxData, data.substr(0, data.size() - kOnnxAlignment)), "ends past"));
  EXPECT_TRUE(contains(error_with(kOnnxData, ""), "ends past"));
  for (const char* name : {kOnnxScorer, kOnnxDecoder}) {
    const std::string& graph = sound.at(name);
    const auto error_of_file = [&](const std::string& bytes) {
      return error_of([&] { parse_onnx(bytes_of(bytes), "file", kOnnxData, data.size()); });
    };
    for (std::size_t size = 0; size < graph.size(); size += 61) {
      error_of_file(graph.substr(0, size));  // never a crash; most are no model, few a shorter one
    }
    EXPECT_TRUE(contains(error_with(name, graph.substr(0, graph.size() / 2)), "cannot read"));
    // Each byte turned over: read as something else or refused, never a crash.
    for (std::size_t i = 0; i < graph.size(); i += 3) {
      std::string damaged = graph;
      damaged[i] = static_cast<char>(~damaged[i]);
      error_of_file(damaged);
    }
    std::string renamed = graph;
    renamed[renamed.rfind("model.norm.weight")] = 'x';  // nodes come before
    EXPECT_TRUE(contains(error_with(name, renamed), "no tensor 'model.norm.weight'"));
  }
  // A sound file of another submodel.
  const auto other = planned(opened, {16}, Dtype::kF16);
  EXPECT_TRUE(contains(error_of([&] { other->reopen(out); }), "than planned"));
  EXPECT_EQ(error_of([&] { plan->reopen(out); }), "");
}

}  // namespace
}  // namespace mnm
