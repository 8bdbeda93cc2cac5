#include "export/target.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "export/huggingface.h"
#include "export/probe.h"
#include "tests/export/exported.h"

namespace mnm {
namespace {

using test::HandModel;
using test::spew;
using test::TempDir;

// A format of two files, for what all formats share.
class TwoFiles final : public PlannedExport {
 public:
  TwoFiles() : PlannedExport({}) {}
  std::string_view format() const override { return "two-files"; }
  std::string_view dtype() const override { return "f32"; }
  std::map<std::string, std::uint64_t> files() const override { return {{"a", 3}, {"b", 4}}; }
  void write(const Checkpoint&, const std::filesystem::path& directory, const ProgressSink&,
             Flush) const override {
    spew(directory / "a", "one");
    spew(directory / "b", "four");
  }
  Checkpoint reopen(const std::filesystem::path& directory) const override {
    return Checkpoint::open(directory);
  }
  void round(const TensorSlice&, std::span<float>) const override {}
  bool rounds(const Checkpoint&) const override { return false; }
  std::string loading(const std::filesystem::path&) const override { return ""; }
};

TEST(PlannedExport, FingerprintIsOfTheFilesThatWerePlanned) {
  const TwoFiles plan;
  EXPECT_EQ(plan.bytes(), 7u);
  TempDir dir, other;
  for (const TempDir* d : {&dir, &other}) {
    plan.write(Checkpoint::assemble("", {}, {}, nullptr), d->path(), {}, Flush::kToKernel);
  }
  const std::string fingerprint = plan.fingerprint(dir.path());
  EXPECT_EQ(fingerprint.size(), 32u);
  spew(other / "probe", "lies beside");
  EXPECT_EQ(plan.fingerprint(other.path()), fingerprint);
  spew(other / "a", "onef");  // the border between two files counts
  spew(other / "b", "our");
  EXPECT_NE(plan.fingerprint(other.path()), fingerprint);
}

TEST(PlannedExport, LayoutIsThatOfThePlan) {
  const TwoFiles plan;
  const TempDir dir;
  plan.write(Checkpoint::assemble("", {}, {}, nullptr), dir.path(), {}, Flush::kToKernel);
  EXPECT_NO_THROW(plan.check_layout(dir.path()));
  spew(dir / "b", "fou");
  EXPECT_THROW(plan.check_layout(dir.path()), Error);
  std::filesystem::remove(dir / "b");
  EXPECT_THROW(plan.check_layout(dir.path()), Error);
}

// Files of the right size that hold other tensors: told without reading one.
TEST(PlannedExport, HuggingFaceLayoutIsOfNamesShapesAndTypes) {
  const HandModel hand(2, Dtype::kF32);
  const TempDir dir;
  const Checkpoint checkpoint = Checkpoint::open(hand.write(dir / "model"));
  const auto planned = huggingface_export(
      plan_huggingface(hand.model, checkpoint, {8, 2}, {{"config.json", "{}\n"}}, {}), false);
  std::filesystem::create_directory(dir / "out");
  planned->write(checkpoint, dir / "out");
  EXPECT_NO_THROW(planned->check_layout(dir / "out"));
  const std::string whole = test::slurp(dir / "out/model.safetensors");
  const std::pair<const char*, const char*> lies[] = {{"layers.1.up", "layers.1.uq"},
                                                      {"\"shape\":[11,6]", "\"shape\":[6,11]"}};
  for (const auto& [from, to] : lies) {
    std::string lying = whole;
    const std::size_t at = lying.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    lying.replace(at, std::string(to).size(), to);
    spew(dir / "out/model.safetensors", lying);
    EXPECT_THROW(planned->check_layout(dir / "out"), Error) << to;
  }
}

TEST(PlannedExport, HuggingFaceIsItsPlan) {
  for (Dtype stored : {Dtype::kF32, Dtype::kBF16}) {
    for (Dtype target : {Dtype::kF32, Dtype::kF16, Dtype::kBF16}) {
      const HandModel hand(2, stored);
      const TempDir dir;
      const Checkpoint checkpoint = Checkpoint::open(hand.write(dir / "model"));
      HuggingFacePlan plan = plan_huggingface(hand.model, checkpoint, {8, 2},
                                              {{"config.json", "{\"model_type\": \"hand\"}\n"}},
                                              {.dtype = target, .metadata = {}});
      const auto files = plan.files();
      const std::uint64_t bytes = plan.bytes;
      const auto planned = huggingface_export(std::move(plan), true);
      EXPECT_EQ(planned->files(), files);
      EXPECT_EQ(planned->bytes(), bytes);
      EXPECT_EQ(planned->dtype(), to_string(target));
      EXPECT_EQ(planned->rounds(checkpoint), roundoff(stored, target) > 0);
      EXPECT_EQ(planned->operand_roundoff(), 0);
      std::filesystem::create_directory(dir / "out");
      planned->write(checkpoint, dir / "out");
      const Checkpoint written = planned->reopen(dir / "out");
      std::vector<std::string> names;  // of all that lies there
      for (const auto& file : std::filesystem::directory_iterator(dir / "out")) {
        names.push_back(file.path().filename().string());
      }
      std::ranges::sort(names);
      EXPECT_EQ(planned->fingerprint(dir / "out"), fingerprint_of(dir / "out", names));
      for (const TensorSlice& slice : planned->slices().tensors) {
        std::vector<float> expected = extract_f32(checkpoint, slice);
        planned->round(slice, expected);
        const StoredTensor& tensor = written.at(slice.spec->name);
        EXPECT_EQ(tensor.shape, slice.shape);
        EXPECT_EQ(test::values_of(written, tensor), expected) << slice.spec->name;
      }
      EXPECT_NE(planned->loading("a \"b\"").find("(\"a \\\"b\\\"\", trust_remote_code=True)"),
                std::string::npos);
    }
  }
}

}  // namespace
}  // namespace mnm
