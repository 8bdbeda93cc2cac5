#include "export/huggingface.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <random>

#include "base/error.h"
#include "tests/export/exported.h"
#include "tests/support/error_of.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::export_to;
using test::files_in;
using test::HandModel;
using test::slurp;
using test::spew;
using test::TempDir;

constexpr Dtype kDtypes[] = {Dtype::kF32, Dtype::kF16, Dtype::kBF16};

std::vector<float> rounded(std::vector<float> values, Dtype dtype) {
  std::vector<std::byte> bytes(values.size() * size_of(dtype));
  from_f32(values, dtype, bytes);
  to_f32(bytes, dtype, values);
  return values;
}

// The name in the submodel of a tensor of a layer that is kept: skipped ones before it do not
// count.
std::string submodel_name(const std::string& name, const Widths& widths) {
  const std::string layers = "layers.";
  if (!name.starts_with(layers)) return name;
  const std::size_t end = name.find('.', layers.size());
  const auto layer = std::stol(name.substr(layers.size(), end - layers.size()));
  const auto skipped = std::count(widths.begin(), widths.begin() + layer, kSkip);
  return layers + std::to_string(layer - skipped) + name.substr(end);
}

TEST(HuggingFace, HoldsWhatNaiveSlicingKeeps) {
  std::mt19937 random(3);
  const Width choices[] = {kSkip, 1, 2, 4, 8};
  for (Dtype stored : kDtypes) {
    const HandModel hand(4, stored);
    TempDir dir;
    const Checkpoint checkpoint = Checkpoint::open(hand.write(dir / "model", 2));
    for (Dtype target : kDtypes) {
      for (std::uint64_t shard_bytes : {1ul, 2'000ul, 5'000'000'000ul}) {
        Widths widths(4);
        for (Width& width : widths) width = choices[random() % 5];
        SCOPED_TRACE(fmt::format("{} to {}, {}, shards of {}", to_string(stored), to_string(target),
                                 to_string(widths), shard_bytes));
        const HuggingFacePlan plan =
            export_to(dir / "out", hand.model, checkpoint, widths,
                      {.dtype = target, .shard_bytes = shard_bytes, .metadata = {}});
        const Checkpoint written = Checkpoint::open(dir / "out");
        const auto expected = hand.naive(widths);
        EXPECT_EQ(written.tensors().size(), expected.size());
        for (const auto& [name, values] : expected) {
          const StoredTensor& tensor = written.at(submodel_name(name, widths));
          EXPECT_EQ(tensor.dtype, target);
          std::vector<float> found(static_cast<std::size_t>(tensor.elements()));
          to_f32(tensor.data, target, found);
          EXPECT_TRUE(found == rounded(values, target)) << name;
        }
        EXPECT_EQ(written.shards().size(), plan.shards.size());
        fs::remove_all(dir / "out");
      }
    }
  }
}

// The same checkpoint with `spaces` more at the end of each header.
void shift(const fs::path& directory, std::size_t spaces) {
  const std::vector<fs::path> shards = Checkpoint::open(directory).shards();
  for (const fs::path& shard : shards) {
    std::string bytes = slurp(shard);
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof length);
    bytes.insert(sizeof length + length, spaces, ' ');
    length += spaces;
    std::memcpy(bytes.data(), &length, sizeof length);
    spew(shard, bytes);
  }
}

// Of a file's bytes, those that the file system keeps once for it and another.
std::uint64_t shared_bytes(const fs::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY);
  constexpr std::size_t kExtents = 256;
  std::vector<std::byte> answer(sizeof(fiemap) + kExtents * sizeof(fiemap_extent));
  auto* const map = reinterpret_cast<fiemap*>(answer.data());
  map->fm_length = FIEMAP_MAX_OFFSET;
  map->fm_flags = FIEMAP_FLAG_SYNC;
  map->fm_extent_count = kExtents;
  std::uint64_t bytes = 0;
  if (::ioctl(file, FS_IOC_FIEMAP, map) == 0) {
    for (std::size_t i = 0; i < map->fm_mapped_extents; ++i) {
      const fiemap_extent& extent = map->fm_extents[i];
      if (extent.fe_flags & FIEMAP_EXTENT_SHARED) bytes += extent.fe_length;
    }
  }
  ::close(file);
  return bytes;
}

// With that, a file system that can (XFS, btrfs) keeps what both files have once.
TEST(HuggingFace, PagesBeginWhereTheCheckpointsDo) {
  const HandModel hand(3, Dtype::kF32, 1024);
  for (const std::size_t spaces : {0, 1000, 2048, 3}) {
    TempDir dir;
    hand.write(dir / "model", 2);
    shift(dir / "model", spaces);
    const Checkpoint checkpoint = Checkpoint::open(dir / "model");
    const HuggingFacePlan plan =
        export_to(dir / "out", hand.model, checkpoint, {8, 4, 8},
                  {.dtype = Dtype::kF32, .shard_bytes = 4'000'000, .metadata = {}});
    const Checkpoint written = Checkpoint::open(dir / "out");
    std::uint64_t shared = 0;
    for (const Shard& shard : plan.shards) {
      const std::string& first = shard.tensors.front().name;
      EXPECT_EQ(written.at(first).offset % kPage, checkpoint.at(first).offset % kPage / 8 * 8);
      shared += shared_bytes(dir / "out" / shard.file);
    }
    for (const auto& [name, values] : hand.naive({8, 4, 8})) {
      const std::span<const std::byte> expected = std::as_bytes(std::span(values));
      EXPECT_TRUE(std::ranges::equal(written.at(name).data, expected)) << name;
    }
    if (SourceFile(checkpoint.shards().front()).shares_pages_with(dir.path()) && spaces % 8 == 0) {
      EXPECT_GT(shared, plan.bytes / 4) << "of " << plan.bytes;
    }
    // Converted, nothing of it is the checkpoint's.
    EXPECT_EQ(plan_huggingface(hand.model, checkpoint, {8, 4, 8}, {}, {}).shards.front().place, 0u);
  }
}

TEST(HuggingFace, PlanStatesEveryFileAndByte) {
  const HandModel hand;
  TempDir dir;
  hand.write(dir / "model");
  spew(dir / "model/tokenizer.json", std::string(1234, 't'));
  spew(dir / "model/generation_config.json", "");
  const Checkpoint checkpoint = Checkpoint::open(dir / "model");
  for (std::uint64_t shard_bytes : {1ul, 3'000ul, 1'000'000ul}) {
    std::uint64_t progress = 0, bytes = 0;
    const HuggingFacePlan plan =
        plan_huggingface(hand.model, checkpoint, {8, 4, 4}, {{"config.json", "{}\n"}},
                         {.dtype = Dtype::kF32, .shard_bytes = shard_bytes, .metadata = {}});
    fs::create_directory(dir / "out");
    write_huggingface(plan, checkpoint, dir / "out", [&](const Progress& now) {
      return progress = static_cast<std::uint64_t>(now.done), true;
    });
    std::map<std::string, std::uint64_t> sizes;
    for (const auto& [name, content] : files_in(dir / "out")) {
      sizes[name] = content.size();
      bytes += content.size();
    }
    EXPECT_EQ(sizes, plan.files());
    EXPECT_EQ(plan.bytes, bytes);
    EXPECT_EQ(progress, bytes);
    fs::remove_all(dir / "out");
  }
}

TEST(HuggingFace, ShardsFillUpInTableOrder) {
  const HandModel hand(2);
  TempDir dir;
  const Checkpoint checkpoint = Checkpoint::open(hand.write(dir / "model"));
  // In f32 at width 8: embed 264, per layer norm 24, up 768, down 768, mixed 380; norm 24.
  struct Case {
    std::uint64_t shard_bytes;
    std::vector<std::size_t> tensors;  // of each shard
  };
  const Case cases[] = {
      {1, std::vector<std::size_t>(10, 1)},
      {264, std::vector<std::size_t>(10, 1)},
      {288, {2, 1, 1, 1, 1, 1, 1, 1, 1}},
      {1056, {3, 1, 2, 1, 1, 2}},
      {4168, {10}},
      {4167, {9, 1}},
  };
  for (const Case& c : cases) {
    const HuggingFacePlan plan =
        plan_huggingface(hand.model, checkpoint, {8, 8}, {},
                         {.dtype = Dtype::kF32, .shard_bytes = c.shard_bytes, .metadata = {}});
    std::vector<std::size_t> tensors;
    for (const Shard& shard : plan.shards) tensors.push_back(shard.tensors.size());
    EXPECT_EQ(tensors, c.tensors) << c.shard_bytes;
  }
}

// Files are written side by side. What is told is what went wrong, not that the others stopped.
TEST(HuggingFace, AFailingShardStopsTheOthersAndIsTold) {
  for (std::size_t failing = 0; failing < 5; ++failing) {
    TempDir dir;
    std::vector<TensorEntry> entries(5);
    for (std::size_t i = 0; i < entries.size(); ++i) {
      entries[i].name = std::to_string(i);
      entries[i].shape = {1000};
    }
    const std::vector<Shard> shards = plan_shards(entries, 1, {});
    ASSERT_EQ(shards.size(), 5u);
    const ProgressSink progress = [](const Progress&) { return true; };
    Meter meter(progress, 5 * 4000, kEveryStep);
    const auto make_append = [&]() -> AppendTensor {
      return [&](std::size_t tensor, OutputFile& out) {
        if (tensor == failing) throw Error("tensor " + std::to_string(tensor));
        // What comes after the failing one does not end by itself.
        for (int i = 0; i < 4000; i += tensor < failing ? 1 : 0) {
          if (tensor < failing) out.write(std::string_view("x"));
          meter.add(tensor < failing ? 1 : 0);
        }
      };
    };
    const auto write = [&] {
      write_shards(shards, {}, dir.path(), 2, make_append, meter, Flush::kToKernel);
    };
    EXPECT_EQ(test::error_of(write), "tensor " + std::to_string(failing));
  }
}

TEST(HuggingFace, IndexNamesEveryTensorsShard) {
  const HandModel hand;
  TempDir dir;
  const Checkpoint checkpoint = Checkpoint::open(hand.write(dir / "model"));
  const HuggingFacePlan one = plan_huggingface(hand.model, checkpoint, {8, 8, 8}, {}, {});
  ASSERT_EQ(one.shards.size(), 1u);
  EXPECT_EQ(one.shards[0].file, "model.safetensors");
  EXPECT_TRUE(one.texts.empty());

  const HuggingFacePlan many =
      plan_huggingface(hand.model, checkpoint, {8, 8, 8}, {},
                       {.dtype = Dtype::kBF16, .shard_bytes = 1'000, .metadata = {}});
  const auto index = nlohmann::json::parse(many.texts.at("model.safetensors.index.json"));
  ASSERT_GT(many.shards.size(), 1u);
  EXPECT_EQ(many.shards[1].file,
            fmt::format("model-00002-of-{:05}.safetensors", many.shards.size()));
  std::uint64_t elements = 0;
  std::size_t tensors = 0;
  for (const Shard& shard : many.shards) {
    for (const TensorEntry& tensor : shard.tensors) {
      EXPECT_EQ(index["weight_map"][tensor.name], shard.file);
      elements += (tensor.end - tensor.begin) / 2;
      ++tensors;
    }
  }
  EXPECT_EQ(index["weight_map"].size(), tensors);
  EXPECT_EQ(index["metadata"]["total_size"], 2 * elements);
  EXPECT_EQ(index["metadata"]["total_parameters"], elements);
}

TEST(HuggingFace, RepeatsByteForByte) {
  const HandModel hand;
  TempDir dir;
  // Sharded differently, carried files made in another order: the same model all the same.
  hand.write(dir / "a", 1);
  hand.write(dir / "b", 4);
  const std::string carried[] = {"tokenizer.json", "vocab.json", "LICENSE"};
  for (int i : {0, 1, 2}) spew(dir / "a" / carried[i], carried[i]);
  for (int i : {2, 0, 1}) spew(dir / "b" / carried[i], carried[i]);
  const HuggingFaceOptions options{.dtype = Dtype::kBF16,
                                   .shard_bytes = 2'000,
                                   .metadata = {{"widths", "8,4,2"}, {"fingerprint", "00ff"}}};
  export_to(dir / "x", hand.model, Checkpoint::open(dir / "a"), {8, 4, 2}, options);
  export_to(dir / "y", hand.model, Checkpoint::open(dir / "a"), {8, 4, 2}, options);
  export_to(dir / "z", hand.model, Checkpoint::open(dir / "b"), {8, 4, 2}, options);
  EXPECT_EQ(files_in(dir / "x"), files_in(dir / "y"));
  EXPECT_EQ(files_in(dir / "x"), files_in(dir / "z"));
}

TEST(HuggingFace, MetadataSayFormatWidthsAndSource) {
  const HandModel hand;
  TempDir dir;
  const Checkpoint checkpoint = Checkpoint::open(hand.write(dir / "model"));
  export_to(dir / "out", hand.model, checkpoint, {8, 4, 2},
            {.dtype = Dtype::kF32, .metadata = {{"widths", "8,4,2"}, {"fingerprint", "00ff"}}});
  const std::string bytes = slurp(dir / "out/model.safetensors");
  const SafetensorsHeader header =
      parse_safetensors(std::as_bytes(std::span(bytes)), bytes.size(), "out");
  const std::map<std::string, std::string> expected = {
      {"format", "pt"}, {"widths", "8,4,2"}, {"fingerprint", "00ff"}};
  EXPECT_EQ(header.metadata, expected);
}

TEST(HuggingFace, CarriesTokenizerAndLicenceAlong) {
  const HandModel hand;
  TempDir dir;
  const fs::path model = dir / "snapshots/revision";  // as the hub's cache lays it out
  fs::create_directories(model);
  hand.write(model);
  const char* carried[] = {"tokenizer.json",
                           "tokenizer_config.json",
                           "tokenizer.model",
                           "special_tokens_map.json",
                           "added_tokens.json",
                           "vocab.json",
                           "vocab.txt",
                           "merges.txt",
                           "chat_template.jinja",
                           "chat_template.json",
                           "generation_config.json",
                           "preprocessor_config.json",
                           "video_preprocessor_config.json",
                           "processor_config.json",
                           "LICENSE",
                           "LICENSE.txt",
                           "USE_POLICY.md",
                           "NOTICE"};
  const char* left[] = {"README.md",  "training_args.bin", "optimizer.pt", "modeling_other.py",
                        "vocabulary", ".gitattributes",    "model.onnx"};
  for (const char* name : carried) spew(model / name, std::string("of ") + name);
  for (const char* name : left) spew(model / name, name);
  fs::create_directory(model / "tokenizer");  // no file, and without an extension
  fs::create_directory(dir / "blobs");
  spew(dir / "blobs/9f", "behind a link");
  fs::create_symlink("../../blobs/9f", model / "vocab.bpe");
  const Checkpoint checkpoint = Checkpoint::open(model);
  const HuggingFacePlan plan =
      plan_huggingface(hand.model, checkpoint, {8, 8, 8},
                       {{"config.json", "{}"}, {"generation_config.json", "ours"}}, {});
  fs::create_directory(dir / "out");
  write_huggingface(plan, checkpoint, dir / "out");
  std::map<std::string, std::string> files = files_in(dir / "out");
  EXPECT_EQ(files["generation_config.json"], "ours");
  EXPECT_EQ(files["vocab.bpe"], "behind a link");
  EXPECT_FALSE(fs::is_symlink(dir / "out/vocab.bpe"));
  for (const char* name : carried) {
    if (std::string(name) != "generation_config.json") {
      EXPECT_EQ(files[name], std::string("of ") + name);
    }
  }
  EXPECT_EQ(files.size(), std::size(carried) + 3);  // and config.json, vocab.bpe, the weights
}

// Whoever makes a checkpoint chooses where its links lead.
TEST(HuggingFace, LinksThatLeadOutOfTheCheckpointAreNamed) {
  const HandModel hand;
  TempDir dir;
  const fs::path model = dir / "snapshots/revision";
  fs::create_directories(model);
  hand.write(model);
  spew(dir / "id_rsa", "a key");
  fs::create_directories(dir / "blobs");
  fs::create_directories(dir / "models--a--b/blobs");
  spew(dir / "models--a--b/blobs/config", "no blob");
  const std::string blob(64, 'a');
  spew(dir / "models--a--b/blobs" / blob, "a blob");
  fs::create_symlink("../id_rsa", dir / "blobs/9f");
  const Checkpoint checkpoint = Checkpoint::open(model);
  const auto plan = [&] { plan_huggingface(hand.model, checkpoint, {8, 8, 8}, {}, {}); };
  const fs::path links[] = {dir / "id_rsa", "../../id_rsa", "../../blobs/9f",
                            dir / "models--a--b/blobs/config", "/etc/passwd"};
  for (const char* name : {"tokenizer.json", "LICENSE", "generation_config.json"}) {
    for (const fs::path& target : links) {
      fs::create_symlink(target, model / name);
      const std::string error = test::error_of(plan);
      EXPECT_NE(error.find(name), std::string::npos) << target << error;
      EXPECT_NE(error.find("it is a link to"), std::string::npos) << target << error;
      fs::remove(model / name);
    }
    fs::create_symlink("model.safetensors", model / name);
    EXPECT_EQ(test::error_of(plan), "") << "a link to a file beside it";
    fs::remove(model / name);
    fs::create_symlink(dir / "models--a--b/blobs" / blob, model / name);
    EXPECT_EQ(test::error_of(plan), "") << "a link into the hub's cache";
    fs::remove(model / name);
  }
}

TEST(HuggingFace, RefusesWidthsOutsideTheSpace) {
  const HandModel hand;
  TempDir dir;
  const Checkpoint checkpoint = Checkpoint::open(hand.write(dir / "model"));
  for (const Widths& widths : {Widths{8, 8}, Widths{8, 8, 3}, Widths{8, 8, -1}, Widths{}}) {
    EXPECT_THROW(plan_huggingface(hand.model, checkpoint, widths, {}, {}), UsageError);
  }
}

TEST(HuggingFace, AsksForTheSpaceBeforeTheFirstByte) {
  const HandModel hand;
  TempDir dir;
  const Checkpoint checkpoint = Checkpoint::open(hand.write(dir / "model"));
  HuggingFacePlan plan =
      plan_huggingface(hand.model, checkpoint, {8, 8, 8}, {{"config.json", "{}"}}, {});
  plan.bytes = std::uint64_t{1} << 62;
  fs::create_directory(dir / "out");
  EXPECT_THROW(write_huggingface(plan, checkpoint, dir / "out"), Error);
  EXPECT_TRUE(fs::is_empty(dir / "out"));
}

TEST(HuggingFace, NoticesASourceThatChangesMeanwhile) {
  const HandModel hand;
  for (const char* name : {"model.safetensors", "tokenizer.json"}) {
    TempDir dir;
    hand.write(dir / "model");
    spew(dir / "model/tokenizer.json", "{}");
    const Checkpoint checkpoint = Checkpoint::open(dir / "model");
    const HuggingFacePlan plan =
        plan_huggingface(hand.model, checkpoint, {8, 8, 8}, {{"config.json", "{}"}}, {});
    fs::create_directory(dir / "out");
    const auto touch = [&] {
      const auto time = fs::file_time_type::clock::now() + std::chrono::seconds(2);
      fs::last_write_time(dir / "model" / name, time);
      return true;
    };
    std::uint64_t calls = 0;
    EXPECT_THROW(write_huggingface(plan, checkpoint, dir / "out",
                                   [&](const Progress&) { return ++calls == 1 || touch(); }),
                 Error)
        << name;
  }
}

// Files may name tensors otherwise, and have several as the rows of one, whatever their order.
TEST(HuggingFace, ALayoutNamesAndStacksTensors) {
  const Widths widths = {8, kSkip, 2};
  const std::vector<StackedTensor> layout = {{"all_up", {"layers.1.up", "layers.0.up"}},
                                             {"last", {"norm"}},
                                             {"first", {"embed"}},
                                             {"norms", {"layers.0.norm", "layers.1.norm"}},
                                             {"down0", {"layers.0.down"}},
                                             {"down1", {"layers.1.down"}},
                                             {"mixed", {"layers.0.mixed", "layers.1.mixed"}}};
  const std::map<std::string, std::vector<std::string>> sources = {
      {"all_up", {"layers.2.up", "layers.0.up"}},
      {"last", {"norm"}},
      {"first", {"embed"}},
      {"norms", {"layers.0.norm", "layers.2.norm"}},
      {"down0", {"layers.0.down"}},
      {"down1", {"layers.2.down"}},
      {"mixed", {"layers.0.mixed", "layers.2.mixed"}}};
  for (const Dtype target : kDtypes) {
    for (const std::uint64_t shard_bytes : {1ul, 1'000ul, 5'000'000'000ul}) {
      const HandModel hand(3, Dtype::kF32);
      TempDir dir;
      const Checkpoint checkpoint = Checkpoint::open(hand.write(dir / "model", 2));
      HuggingFaceOptions options;
      options.dtype = target;
      options.shard_bytes = shard_bytes;
      options.layout = layout;
      const HuggingFacePlan plan = export_to(dir / "out", hand.model, checkpoint, widths, options);
      safetensors_export(plan, "hand", "")->check_layout(dir / "out");
      const Checkpoint written = Checkpoint::open(dir / "out");
      ASSERT_EQ(written.tensors().size(), layout.size());
      const auto kept = hand.naive(widths);
      for (const auto& [name, parts] : sources) {
        std::vector<float> expected;
        for (const std::string& part : parts) {
          expected.insert(expected.end(), kept.at(part).begin(), kept.at(part).end());
        }
        const StoredTensor& tensor = written.at(name);
        std::vector<float> found(static_cast<std::size_t>(tensor.elements()));
        to_f32(tensor.data, target, found);
        EXPECT_TRUE(found == rounded(expected, target)) << name;
      }
      EXPECT_EQ(written.at("all_up").shape, (std::vector<std::int64_t>{8 + 32, 6}));
    }
  }
}

TEST(HuggingFace, ALayoutHasEachTensorOnce) {
  const HandModel hand(1);
  TempDir dir;
  const Checkpoint checkpoint = Checkpoint::open(hand.write(dir / "model"));
  const auto error = [&](std::vector<StackedTensor> layout) {
    HuggingFaceOptions options;
    options.layout = std::move(layout);
    return test::error_of([&] { plan_huggingface(hand.model, checkpoint, {8}, {}, options); });
  };
  EXPECT_EQ(error({{"a", {"embed"}}}), "the layout lacks the tensor layers.0.norm");
  EXPECT_EQ(error({{"a", {"embed", "embed"}}}),
            "the layout takes the tensor embed twice or has no such");
}

TEST(HuggingFace, StopsWhenProgressSaysSo) {
  const HandModel hand;
  TempDir dir;
  hand.write(dir / "model");
  spew(dir / "model/tokenizer.json", "{}");
  const Checkpoint checkpoint = Checkpoint::open(dir / "model");
  const HuggingFacePlan plan =
      plan_huggingface(hand.model, checkpoint, {8, 8, 8}, {{"config.json", "{}"}}, {});
  fs::create_directory(dir / "out");
  for (int allowed = 0; allowed < 10; ++allowed) {
    int calls = 0;
    EXPECT_THROW(write_huggingface(plan, checkpoint, dir / "out",
                                   [&](const Progress&) { return calls++ < allowed; }),
                 Stopped);
    EXPECT_EQ(calls, allowed + 1);
  }
}

}  // namespace
}  // namespace mnm
