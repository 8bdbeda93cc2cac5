#include "model/checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>

#include "tests/support/error_of.h"
#include "tests/support/malformed.h"
#include "tests/support/models.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::contains;
using test::error_of;

const nlohmann::json kConfig = {{"model_type", "prefix"}, {"hidden_size", 4}};

struct Sample {
  NestedModel model = test::prefix_model(2, 4, {2, 8}, 5);
  std::vector<test::TestTensor> tensors = test::random_tensors(model, 1, Dtype::kBF16);
};

std::string open_error(const fs::path& directory) {
  return error_of([&] { Checkpoint::open(directory); });
}

TEST(Checkpoint, ReadsNothingOfAFileThatWasWrittenSince) {
  const Sample sample;
  const test::TempDir dir;
  test::write_checkpoint(dir.path(), kConfig, sample.tensors, 1);
  const Checkpoint checkpoint = Checkpoint::open(dir.path());
  const StoredTensor& tensor = checkpoint.tensors().front();
  std::vector<std::byte> bytes(tensor.data.size());
  checkpoint.read(tensor, 0, bytes);
  const auto file = checkpoint.shards().front();
  std::filesystem::last_write_time(
      file, std::filesystem::last_write_time(file) + std::chrono::milliseconds(1));
  const std::string error = error_of([&] { checkpoint.read(tensor, 0, bytes); });
  EXPECT_NE(error.find("was written since"), std::string::npos) << error;
}

TEST(Checkpoint, HoldsItsTensorsHoweverSharded) {
  const Sample sample;
  for (const std::size_t shards : {1, 2, 3, 7}) {
    const test::TempDir dir;
    test::write_checkpoint(dir.path(), kConfig, sample.tensors, shards);
    const Checkpoint checkpoint = Checkpoint::open(dir.path());
    EXPECT_EQ(checkpoint.config(), kConfig);
    EXPECT_EQ(checkpoint.directory(), dir.path());
    EXPECT_EQ(checkpoint.shards().size(), shards);
    ASSERT_EQ(checkpoint.tensors().size(), sample.tensors.size());
    for (const test::TestTensor& expected : sample.tensors) {
      const StoredTensor& tensor = checkpoint.at(expected.name);
      EXPECT_EQ(&tensor, checkpoint.find(expected.name));
      EXPECT_EQ(tensor.shape, expected.shape);
      EXPECT_EQ(tensor.elements(), static_cast<std::int64_t>(expected.elements()));
      std::vector<std::byte> read(tensor.data.size() - 1);
      checkpoint.read(tensor, 1, read);
      EXPECT_TRUE(std::ranges::equal(read, tensor.data.subspan(1))) << expected.name;
      EXPECT_NE(error_of([&] { checkpoint.read(tensor, 2, read); }), "");
      std::vector<float> values(expected.elements());
      to_f32(tensor.data, tensor.dtype, values);
      EXPECT_EQ(values, expected.values) << expected.name;
      // The offset is that of the same bytes in the file.
      const std::string file = test::slurp(checkpoint.shards()[tensor.shard]);
      EXPECT_EQ(file.substr(tensor.offset, tensor.data.size()),
                std::string(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size()));
    }
    EXPECT_TRUE(std::ranges::is_sorted(checkpoint.tensors(), {}, [](const StoredTensor& t) {
      return std::pair(t.shard, t.offset);
    }));
    EXPECT_EQ(checkpoint.find("nothing"), nullptr);
    EXPECT_TRUE(contains(error_of([&] { checkpoint.at("nothing"); }), "'nothing'"));
  }
}

TEST(Checkpoint, MovesKeepTheMaps) {
  const Sample sample;
  const test::TempDir dir;
  test::write_checkpoint(dir.path(), kConfig, sample.tensors, 2);
  Checkpoint first = Checkpoint::open(dir.path());
  const std::byte* data = first.at("norm").data.data();
  Checkpoint second = std::move(first);
  EXPECT_EQ(second.at("norm").data.data(), data);
  second = Checkpoint::open(dir.path());
  std::vector<float> values(4);
  to_f32(second.at("norm").data, Dtype::kBF16, values);
}

TEST(Checkpoint, SingleFileComesBeforeTheIndex) {
  const Sample sample;
  const test::TempDir dir;
  test::write_checkpoint(dir.path(), kConfig, sample.tensors, 2);
  const auto other = std::vector{test::random_tensor("only", {3}, 9)};
  test::write_safetensors(dir / "model.safetensors", other);
  EXPECT_EQ(Checkpoint::open(dir.path()).tensors().size(), 1u);
}

TEST(Checkpoint, AssembledFromElsewhereIsTheSameCheckpoint) {
  const Sample sample;
  const test::TempDir dir;
  test::write_checkpoint(dir.path(), kConfig, sample.tensors);
  auto opened = std::make_shared<const Checkpoint>(Checkpoint::open(dir.path()));
  std::vector<StoredTensor> tensors = opened->tensors();
  std::ranges::reverse(tensors);
  const std::weak_ptr<const Checkpoint> storage = opened;
  const std::string fingerprint = opened->fingerprint();
  {
    const Checkpoint assembled =
        Checkpoint::assemble(dir.path(), kConfig, tensors, std::move(opened));
    EXPECT_EQ(assembled.fingerprint(), fingerprint);
    EXPECT_TRUE(assembled.shards().empty());
    check_tensors(assembled, sample.model);
    EXPECT_FALSE(storage.expired());
  }
  EXPECT_TRUE(storage.expired());
  const Checkpoint source = Checkpoint::open(dir.path());
  for (StoredTensor& tensor : tensors) {
    tensor.data = {};
    tensor.decode = [&, name = tensor.name](std::uint64_t begin, std::span<std::byte> into) {
      source.read(source.at(name), begin, into);
    };
  }
  const Checkpoint decoded = Checkpoint::assemble(dir.path(), kConfig, tensors, nullptr);
  EXPECT_EQ(decoded.fingerprint(), fingerprint);
  const StoredTensor& last = decoded.tensors().back();
  std::vector<std::byte> past(last.bytes() + 1);
  EXPECT_TRUE(contains(error_of([&] { decoded.read(last, 0, past); }), "cannot read"));
  tensors.push_back(tensors.front());
  EXPECT_TRUE(contains(
      error_of([&] { Checkpoint::assemble(dir.path(), kConfig, tensors, nullptr); }), "twice"));
}

TEST(Checkpoint, FingerprintIsOfTheTensorsNotOfTheFiles) {
  const Sample sample;
  std::set<std::string> all;
  std::string first;
  for (const std::size_t shards : {1, 2, 5}) {
    const test::TempDir dir;
    test::write_checkpoint(dir.path(), kConfig, sample.tensors, shards);
    const std::string hex = Checkpoint::open(dir.path()).fingerprint();
    EXPECT_EQ(hex.size(), 32u);
    all.insert(hex);
  }
  EXPECT_EQ(all.size(), 1u);
  const auto changed = [&](const auto& change, const nlohmann::json& config = kConfig) {
    Sample other;
    change(other.tensors);
    const test::TempDir dir;
    test::write_checkpoint(dir.path(), config, other.tensors);
    return Checkpoint::open(dir.path()).fingerprint();
  };
  std::vector<std::string> others;
  others.push_back(changed([](auto&) {}, {{"model_type", "prefix"}, {"hidden_size", 5}}));
  others.push_back(changed([](auto& tensors) { tensors[3].values.back() += 1; }));
  others.push_back(changed([](auto& tensors) { tensors[3].dtype = Dtype::kF16; }));
  others.push_back(changed([](auto& tensors) { tensors[3].name += "x"; }));
  others.push_back(changed([](auto& tensors) { tensors[0].shape = {4, 5}; }));
  others.push_back(changed([](auto& tensors) { std::swap(tensors[4].values, tensors[8].values); }));
  others.push_back(changed([](auto& tensors) { tensors.pop_back(); }));
  for (const std::string& hex : others) EXPECT_TRUE(all.insert(hex).second);
  EXPECT_TRUE(all.contains(changed([](auto& tensors) { std::swap(tensors[1], tensors[2]); })));
}

// A sparse file past 64 MiB: the ends and the places in between count, whatever the sharding.
TEST(Checkpoint, FingerprintOfABigCheckpointSamplesIt) {
  const std::int64_t elements = 40 << 20;  // 80 MiB of bf16 in two tensors
  const auto write = [&](const fs::path& directory, bool two_files, std::uint64_t poke) {
    fs::create_directories(directory);
    test::spew(directory / "config.json", "{}");
    std::vector<TensorEntry> entries(2);
    entries[0].name = "a";
    entries[1].name = "b";
    for (TensorEntry& entry : entries) {
      entry.dtype = Dtype::kBF16;
      entry.shape = {elements / 2};
    }
    const std::uint64_t half = static_cast<std::uint64_t>(elements);
    const auto put = [&](const fs::path& path, std::vector<TensorEntry> some, std::uint64_t from) {
      const std::string head = safetensors_head(some, {});
      test::spew(path, head);
      const std::uint64_t size = half * some.size();
      fs::resize_file(path, head.size() + size);
      if (poke >= from && poke < from + size) {
        std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(static_cast<std::streamoff>(head.size() + poke - from));
        file.put('x');
      }
    };
    if (!two_files) {
      put(directory / "model.safetensors", entries, 0);
    } else {
      put(directory / "m1.safetensors", {entries[1]}, half);  // `b` in the first file by name
      put(directory / "m2.safetensors", {entries[0]}, 0);
      test::spew(directory / "model.safetensors.index.json",
                 R"({"weight_map":{"a":"m2.safetensors","b":"m1.safetensors"}})");
    }
    return Checkpoint::open(directory).fingerprint();
  };
  const test::TempDir dir;
  const std::uint64_t size = static_cast<std::uint64_t>(elements) * 2;
  const std::uint64_t nowhere = size;
  const std::string plain = write(dir / "0", false, nowhere);
  EXPECT_EQ(write(dir / "1", true, nowhere), plain);
  EXPECT_NE(write(dir / "2", false, 0), plain);
  const std::string end = write(dir / "3", false, size - 1);
  EXPECT_NE(end, plain);
  EXPECT_EQ(write(dir / "4", true, size - 1), end);
  const std::uint64_t middle = (size - (256 << 10)) * 128 / 255;  // where the 129th place begins
  EXPECT_NE(write(dir / "5", false, middle), plain);
  EXPECT_EQ(write(dir / "6", false, middle - 1), plain);  // between two places
}

// A repository's folder as a download cache of Hugging Face's has it.
TEST(Checkpoint, RepositoriesOfACacheFindTheirSnapshot) {
  const test::TempDir dir;
  const fs::path repository = dir / "models--a--b";
  const auto snapshot = [&](const char* revision) {
    const test::TestTensor tensor = test::random_tensor(revision, {2}, 1);
    test::write_checkpoint(repository / "snapshots" / revision, {{"a", 1}}, {&tensor, 1});
    return repository / "snapshots" / revision;
  };
  EXPECT_EQ(snapshot_of(dir.path()), dir.path());
  const fs::path first = snapshot("0123");
  EXPECT_EQ(snapshot_of(repository), first);
  const fs::path second = snapshot("4567");
  EXPECT_TRUE(contains(open_error(repository), "with 2 snapshots"));
  fs::create_directory(repository / "refs");
  test::spew(repository / "refs/main", "\n");
  EXPECT_TRUE(contains(open_error(repository), "with 2 snapshots"));
  test::spew(repository / "refs/main", "89ab");
  EXPECT_TRUE(contains(open_error(repository), "names the revision '89ab', and"));
  EXPECT_TRUE(contains(open_error(repository), "holds '0123' and 1 other;"));
  test::spew(repository / "refs/main", "4567\n");
  EXPECT_EQ(snapshot_of(repository), second);
  const Checkpoint opened = Checkpoint::open(repository);
  EXPECT_EQ(opened.directory(), second);
  EXPECT_NE(opened.find("4567"), nullptr);
  test::spew(repository / "refs/main", "../../..");
  EXPECT_TRUE(contains(open_error(repository), "names the revision '../../..', and"));
  // Also where there is only one, which may be older.
  fs::remove_all(second);
  test::spew(repository / "refs/main", "4567");
  EXPECT_TRUE(contains(open_error(repository), "names the revision '4567', and"));
  EXPECT_TRUE(contains(open_error(repository), "holds '0123';"));
  fs::remove(repository / "refs/main");
  EXPECT_EQ(snapshot_of(repository), first);
}

TEST(Checkpoint, RefusalsNameWhatIsMissing) {
  const Sample sample;
  const test::TempDir dir;
  EXPECT_TRUE(contains(open_error(dir / "nowhere"), "no such directory"));
  test::spew(dir / "file", "x");
  EXPECT_TRUE(contains(open_error(dir / "file"), "it is a file"));
  fs::create_directory(dir / "empty");
  EXPECT_TRUE(contains(open_error(dir / "empty"), "no config.json"));
  for (const auto& [name, phrase] :
       {std::pair<const char*, const char*>("adapter_config.json", "an adapter (adapter_config"),
        {"consolidated.00.pth", "'consolidated.00.pth', the layout of the model's authors"},
        {"params.json", "'params.json', the layout of the model's authors"}}) {
    test::spew(dir / "empty" / name, "{}");
    EXPECT_TRUE(contains(open_error(dir / "empty"), phrase)) << open_error(dir / "empty");
    fs::remove(dir / "empty" / name);
  }
  test::spew(dir / "empty/config.json", "[1]");
  EXPECT_TRUE(contains(open_error(dir / "empty"), "no JSON object"));
  test::spew(dir / "empty/config.json", "{}");
  EXPECT_TRUE(contains(open_error(dir / "empty"), "neither model.safetensors nor"));
  test::spew(dir / "empty/weights.safetensors", "x");
  EXPECT_TRUE(contains(open_error(dir / "empty"), "holds 'weights.safetensors' but neither"));
  fs::remove(dir / "empty/weights.safetensors");
  test::spew(dir / "empty" / kProbeFile, "x");  // an export that lost its tensors: of no use
  EXPECT_TRUE(contains(open_error(dir / "empty"), "holds neither model.safetensors nor"));
  for (const char* name : {"pytorch_model.bin", "model.pt", "final.pth"}) {
    test::spew(dir / "empty" / name, "x");
    const std::string error = open_error(dir / "empty");
    EXPECT_TRUE(contains(error, "weights_only=True") && contains(error, name)) << error;
    fs::remove(dir / "empty" / name);
  }
  // What a training run keeps beside the weights is none of them.
  for (const char* name : {"optimizer.pt", "rng_state.pth", "scheduler.pt", "training_args.bin"}) {
    test::spew(dir / "empty" / name, "x");
  }
  EXPECT_TRUE(contains(open_error(dir / "empty"), "holds neither"));
  test::spew(dir / "empty/pytorch_model.bin", "x");
  EXPECT_TRUE(contains(open_error(dir / "empty"), "'pytorch_model.bin' is pickled"));
  fs::rename(dir / "empty/pytorch_model.bin", dir / "empty/model.ckpt");
  EXPECT_TRUE(contains(open_error(dir / "empty"), "'model.ckpt' is pickled"));
  fs::rename(dir / "empty/model.ckpt", dir / "empty/model-q4.gguf");
  EXPECT_TRUE(contains(open_error(dir / "empty"), "'model-q4.gguf', which other programs run"));
  fs::remove(dir / "empty/model-q4.gguf");
  fs::create_symlink("../../blobs/0123", dir / "empty/model.safetensors");
  EXPECT_TRUE(contains(open_error(dir / "empty"), "a link to '../../blobs/0123', which is not"));
  fs::remove(dir / "empty/model.safetensors");
  test::spew(dir / "empty/adapter_model.safetensors", "x");
  EXPECT_TRUE(contains(open_error(dir / "empty"), "an adapter"));
  fs::remove(dir / "empty/adapter_model.safetensors");
  for (const char* name : {"consolidated.safetensors", "consolidated.00.pth"}) {
    test::spew(dir / "empty" / name, "x");
    const std::string error = open_error(dir / "empty");
    EXPECT_TRUE(contains(error, std::string(name) + "' holds the tensors under the names of the"))
        << error;
    EXPECT_FALSE(contains(error, "python -c")) << error;
    fs::remove(dir / "empty" / name);
  }
  const fs::path shard = dir / "empty/model-00001-of-00003.safetensors";
  test::spew(shard, "x");
  EXPECT_TRUE(contains(open_error(dir / "empty"), "one of the 3 shards of a model, and no"));
  EXPECT_TRUE(contains(open_error(shard), "it is one of the 3 shards of a model"));
  fs::remove(shard);
  test::spew(dir / "empty/pytorch_model-00001-of-00002.bin", "x");
  test::spew(dir / "empty/pytorch_model-00002-of-00002.bin", "x");
  EXPECT_TRUE(contains(open_error(dir / "empty"), "pytorch_model-*.bin"));

  // What the sentence says to type names these files, whatever their directory is called.
  const fs::path strange = dir / "it's $HOME [a] \"b\" `c` * \\d";
  fs::rename(dir / "empty", strange);
  const std::string said = open_error(strange);
  const std::size_t command = said.find("python -c");
  ASSERT_NE(command, std::string::npos) << said;
  test::spew(dir / "say.sh",
             "python() { shift 2; printf '%s\\n' \"$@\"; }\n" + said.substr(command));
  const std::string say =
      "sh '" + (dir / "say.sh").string() + "' > '" + (dir / "words").string() + "'";
  ASSERT_EQ(std::system(say.c_str()), 0) << said;
  EXPECT_EQ(test::slurp(dir / "words"),
            (strange / "model.safetensors").string() + "\n" +
                (strange / "pytorch_model-00001-of-00002.bin").string() + "\n" +
                (strange / "pytorch_model-00002-of-00002.bin").string() + "\n");
  fs::rename(strange, dir / "empty");

  test::spew(dir / "empty/model.safetensors", std::string("PK\x03\x04", 4) + std::string(60, '\0'));
  EXPECT_TRUE(contains(open_error(dir / "empty"), "weights_only=True"));
}

TEST(Checkpoint, IndexesThatLie) {
  const Sample sample;
  const test::TempDir dir;
  test::write_checkpoint(dir.path(), kConfig, sample.tensors, 2);
  const fs::path index = dir / "model.safetensors.index.json";
  const std::string one = "model-00001-of-00002.safetensors",
                    two = "model-00002-of-00002.safetensors";
  const nlohmann::json sound = nlohmann::json::parse(test::slurp(index));
  const auto error_with = [&](const auto& change) {
    nlohmann::json json = sound;
    change(json);
    test::spew(index, json.dump());
    return open_error(dir.path());
  };
  const auto in = [](nlohmann::json& json) -> nlohmann::json& { return json["weight_map"]; };
  EXPECT_EQ(error_with([](auto&) {}), "");
  const std::vector<std::pair<std::function<void(nlohmann::json&)>, std::string>> cases = {
      {[&](auto& j) { in(j)["norm"] = one; }, "'norm' is in '" + one + "', but it is in '" + two},
      {[&](auto& j) { in(j)["ghost"] = one; },
       "'ghost' is in '" + one + "', but it is in no shard"},
      {[&](auto& j) { in(j)["norm"] = "gone.safetensors"; },
       "'gone.safetensors', which should hold"},
      {[&](auto& j) { in(j)["norm"] = "../x.safetensors"; }, "is no safetensors file"},
      {[&](auto& j) { in(j)["norm"] = "/etc/passwd"; }, "is no safetensors file"},
      {[&](auto& j) { in(j)["norm"] = "pytorch_model.bin"; }, "is no safetensors file"},
      {[&](auto& j) { in(j)["norm"] = 1; }, "is no safetensors file"},
      {[&](auto& j) { in(j)["norm"] = nullptr; }, "is no safetensors file"},
      {[&](auto& j) { in(j)["norm"] = "\x1b[31m.safetensors"; }, "control characters"},
      {[&](auto& j) { in(j)["\x1b[31m"] = one; }, "control characters"},
      {[&](auto& j) { j["weight_map"] = nlohmann::json::object(); }, "no weight_map"},
      {[&](auto& j) { j["weight_map"] = nlohmann::json::array(); }, "no weight_map"},
      {[&](auto& j) { j.erase("weight_map"); }, "no weight_map"},
      {[&](auto& j) { j = 7; }, "no weight_map"},
  };
  for (const auto& [change, phrase] : cases) {
    const std::string error = error_with(change);
    EXPECT_TRUE(contains(error, phrase)) << phrase << " in: " << error;
  }
  test::spew(index, sound.dump());
  const auto twice = std::vector{sample.tensors.front(), sample.tensors.back()};
  test::write_safetensors(dir / two, twice);
  EXPECT_TRUE(contains(open_error(dir.path()), "is in '" + one + "' and in '" + two));
  fs::remove(dir / two);
  EXPECT_TRUE(contains(open_error(dir.path()), "shard '" + two));
  fs::create_symlink("nowhere", dir / two);
  EXPECT_TRUE(contains(open_error(dir.path()), "is a link to"));
  fs::remove(dir / two);
  fs::create_directory(dir / two);
  EXPECT_TRUE(contains(open_error(dir.path()), "is a directory"));
}

// Config, index and shards of a small checkpoint, cut at every length.
TEST(Checkpoint, EveryTruncationIsRefused) {
  const Sample sample;
  const test::TempDir dir;
  test::write_checkpoint(dir.path(), kConfig, sample.tensors, 2);
  ASSERT_EQ(open_error(dir.path()), "");
  for (const char* name :
       {"config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors"}) {
    const std::string whole = test::slurp(dir / name);
    // A final newline of JSON may go.
    const std::size_t sound = whole.back() == '\n' ? whole.size() - 1 : whole.size();
    for (std::size_t size = sound; size-- > 0;) {
      fs::resize_file(dir / name, size);
      const std::string error = open_error(dir.path());
      ASSERT_TRUE(contains(error, name)) << name << " cut at " << size << ": " << error;
    }
    test::spew(dir / name, whole);
  }
  EXPECT_EQ(open_error(dir.path()), "");
}

TEST(Checkpoint, EveryMalformedFileIsNamed) {
  const test::TempDir dir;
  test::spew(dir / "config.json", "{}");
  for (const test::MalformedCase& c : test::malformed_safetensors()) {
    test::spew(dir / "model.safetensors", c.bytes);
    const std::string error = open_error(dir.path());
    EXPECT_TRUE(contains(error, c.phrase) && contains(error, "model.safetensors"))
        << c.name << ": " << error;
  }
}

TEST(CheckTensors, AgreementAndEveryDisagreement) {
  const auto error_with = [](const auto& change, std::vector<std::string> ignored = {}) {
    Sample sample;
    change(sample.tensors);
    const test::TempDir dir;
    test::write_checkpoint(dir.path(), kConfig, sample.tensors);
    const Checkpoint checkpoint = Checkpoint::open(dir.path());
    return error_of([&] { check_tensors(checkpoint, sample.model, ignored); });
  };
  EXPECT_EQ(error_with([](auto&) {}), "");
  std::string error = error_with([](auto& tensors) { tensors.pop_back(); });
  EXPECT_TRUE(contains(error, "'head' of shape [5, 4] is missing")) << error;
  EXPECT_TRUE(contains(error, "prefix")) << error;
  EXPECT_FALSE(contains(error, "share")) << error;
  error = error_with([](auto& tensors) { tensors.erase(tensors.begin() + 3); });
  EXPECT_TRUE(contains(error, "'layers.0.gate' of shape [8, 4] is missing")) << error;
  EXPECT_TRUE(contains(error, "layers share (tied weights)")) << error;
  error = error_with([](auto& tensors) { tensors[0].shape = {4, 5}; });
  EXPECT_TRUE(contains(error, "'embed' of shape [5, 4] is there with shape [4, 5]")) << error;
  EXPECT_FALSE(contains(error, "more)")) << error;
  error = error_with([](auto& tensors) {
    tensors[0].shape = {20};
    tensors[1].name = "other";
  });
  EXPECT_TRUE(contains(error, "'embed'") && contains(error, "(and 2 more)")) << error;
  const auto extra = [](auto& tensors) {
    tensors.push_back(test::random_tensor("layers.0.rotary.inv_freq", {3}, 1));
  };
  EXPECT_TRUE(contains(error_with(extra), "inv_freq"));
  EXPECT_EQ(error_with(extra, {"rotary.inv_freq"}), "");
  EXPECT_TRUE(contains(error_with(extra, {"rotary.inv"}), "inv_freq"));
  // What is ignored may be absent from the table only: a missing tensor stays missing.
  EXPECT_TRUE(contains(error_with([](auto& t) { t.pop_back(); }, {"head"}), "'head'"));
}

// A second name finds the same tensor; what identifies the checkpoint stays what is stored.
TEST(Checkpoint, TensorsMayHaveASecondName) {
  const Sample sample;
  const test::TempDir dir;
  test::write_checkpoint(dir.path(), kConfig, sample.tensors);
  Checkpoint checkpoint = Checkpoint::open(dir.path());
  const std::string before = checkpoint.fingerprint();
  checkpoint.add_names({{"embed", "word_embeddings"}, {"nothing", "other"}});
  EXPECT_EQ(checkpoint.find("word_embeddings"), &checkpoint.at("embed"));
  EXPECT_EQ(checkpoint.find("other"), nullptr);
  EXPECT_EQ(checkpoint.fingerprint(), before);
  EXPECT_TRUE(contains(error_of([&] {
                         checkpoint.add_names({{"embed", "norm"}});
                       }),
                       "'embed' and 'norm' are two names of one tensor"));
}

}  // namespace
}  // namespace mnm
