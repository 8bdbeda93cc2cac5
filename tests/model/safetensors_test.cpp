#include "model/safetensors.h"

#include <gtest/gtest.h>

#include "tests/support/error_of.h"
#include "tests/support/malformed.h"
#include "tests/support/tensors.h"

namespace mnm {
namespace {

using test::contains;
using test::error_of;
using test::with_header;

SafetensorsHeader parse(const std::string& bytes) {
  return parse_safetensors(std::as_bytes(std::span(bytes)), bytes.size(), "some/model.safetensors");
}

std::vector<test::TestTensor> sample_tensors() {
  return {test::random_tensor("a", {2, 3}, 1),
          test::random_tensor("empty", {0, 5}, 2, 1, Dtype::kF16),
          test::random_tensor("scalar", {}, 3, 1, Dtype::kBF16),
          test::random_tensor("name \"quoted\" \\ \xc3\xa9", {1, 1, 4}, 4, 1, Dtype::kF16),
          test::random_tensor("last", {7}, 5)};
}

TEST(Safetensors, WhatIsWrittenIsRead) {
  const auto tensors = sample_tensors();
  const std::map<std::string, std::string> metadata = {{"format", "pt"}, {"k\n", "v\xc3\xa9"}};
  const std::string bytes = test::safetensors_bytes(tensors, metadata);
  const SafetensorsHeader header = parse(bytes);
  EXPECT_EQ(header.metadata, metadata);
  EXPECT_EQ(header.data_offset % 8, 0u);
  ASSERT_EQ(header.tensors.size(), tensors.size());
  std::uint64_t at = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const TensorEntry& entry = header.tensors[i];
    EXPECT_EQ(entry.name, tensors[i].name);
    EXPECT_EQ(entry.dtype, tensors[i].dtype);
    EXPECT_EQ(entry.shape, tensors[i].shape);
    EXPECT_EQ(entry.begin, at);
    std::vector<float> values(tensors[i].elements());
    to_f32(std::as_bytes(std::span(bytes))
               .subspan(header.data_offset + entry.begin, entry.end - entry.begin),
           entry.dtype, values);
    EXPECT_EQ(values, tensors[i].values) << entry.name;
    at = entry.end;
  }
}

TEST(Safetensors, HeadIsTheReferenceImplementationsToTheByte) {
  std::vector<TensorEntry> tensors(2);
  tensors[0].name = "b";
  tensors[0].shape = {2, 2};
  tensors[1].name = "a";
  tensors[1].dtype = Dtype::kBF16;
  tensors[1].shape = {1};
  // safetensors.numpy.save of the same, less the order, which it takes from dtype and name.
  const std::string json =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
      R"("a":{"dtype":"BF16","shape":[1],"data_offsets":[16,18]}})";
  std::string padded = json;
  while (padded.size() % 8 != 0) padded += ' ';
  EXPECT_EQ(safetensors_head(tensors, {{"format", "pt"}}), with_header(padded, 0));
  EXPECT_EQ(tensors[1].begin, 16u);
  EXPECT_EQ(tensors[1].end, 18u);
}

TEST(Safetensors, DataBeginsWhereTheAlignmentSays) {
  for (std::size_t length : {1, 7, 8, 30, 500, 1000}) {
    std::vector<TensorEntry> tensors(1);
    tensors[0].name = std::string(length, 'n');
    tensors[0].shape = {3};
    for (std::size_t place : {0, 8, 104, 4088}) {
      const std::string head = safetensors_head(tensors, {}, 4096, place);
      EXPECT_EQ(head.size() % 4096, place);
      EXPECT_LT(head.size(), safetensors_head(tensors, {}).size() + 4096);
      EXPECT_EQ(parse(head + std::string(12, 'x')).data_offset, head.size());
    }
  }
}

TEST(Safetensors, NoTensorsIsAFile) {
  std::vector<TensorEntry> none;
  EXPECT_EQ(safetensors_head(none, {}), with_header("{}      ", 0));
  EXPECT_TRUE(parse(safetensors_head(none, {})).tensors.empty());
}

TEST(Safetensors, TensorsComeInOrderOfTheirBytes) {
  const std::string header = R"({"z":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},)"
                             R"("y":{"dtype":"F32","shape":[0],"data_offsets":[4,4]},)"
                             R"("b":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"x":)"
                             R"({"extra":[{}],"dtype":"BF16","shape":[],"data_offsets":[8,10]}})";
  std::vector<std::string> names;
  for (const TensorEntry& entry : parse(with_header(header, 10)).tensors)
    names.push_back(entry.name);
  EXPECT_EQ(names, (std::vector<std::string>{"b", "y", "z", "x"}));
}

// Tensors of other types beside the weights, and no metadata spelled null, are a sound file.
TEST(Safetensors, TensorsOfOtherTypesAreSetApart) {
  const std::string header = R"({"__metadata__":null,)"
                             R"("state":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
                             R"("ids":{"dtype":"I64","shape":[1,2],"data_offsets":[0,16]},)"
                             R"("w":{"dtype":"F64","shape":[2],"data_offsets":[16,32]},)"
                             R"("mask":{"dtype":"BOOL","shape":[3],"data_offsets":[32,35]}})";
  const SafetensorsHeader found = parse(with_header(header, 35));
  ASSERT_EQ(found.tensors.size(), 1u);
  EXPECT_EQ(found.tensors[0].name, "w");
  EXPECT_EQ(found.tensors[0].dtype, Dtype::kF64);
  ASSERT_EQ(found.others.size(), 3u);
  EXPECT_EQ(found.others[0].name, "state");
  EXPECT_EQ(found.others[1].dtype, "I64");
  EXPECT_TRUE(contains(error_of([&] { parse(with_header(header, 36)); }), "left over"));
}

TEST(Safetensors, EveryMalformationHasItsSentence) {
  for (const test::MalformedCase& c : test::malformed_safetensors()) {
    const std::string error = error_of([&] { parse(c.bytes); });
    EXPECT_TRUE(contains(error, c.phrase)) << c.name << ": " << error;
    EXPECT_TRUE(contains(error, "some/model.safetensors")) << c.name << ": " << error;
    for (const char letter : error) {
      EXPECT_TRUE(letter == '\n' || static_cast<unsigned char>(letter) >= 0x20) << c.name;
    }
  }
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string bytes = test::safetensors_bytes(sample_tensors(), {{"format", "pt"}});
  EXPECT_NO_THROW(parse(bytes));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    // A copy of exactly that size, so that a sanitizer sees the first byte read past its end.
    const std::string cut(bytes.data(), size);
    EXPECT_NE(error_of([&] { parse(cut); }), "") << size << " of " << bytes.size();
  }
  EXPECT_TRUE(contains(error_of([&] { parse(bytes + "x"); }), "left over"));
}

TEST(Safetensors, EveryFlippedHeaderByteIsRefusedOrSound) {
  const std::string sound = test::safetensors_bytes(sample_tensors(), {{"format", "pt"}});
  const std::uint64_t head = parse(sound).data_offset;
  for (std::size_t at = 0; at < head; ++at) {
    for (const char other : {'\0', '"', '9', '-', '}', '\xff'}) {
      std::string bytes = sound;
      bytes[at] = other;
      try {
        const SafetensorsHeader header = parse(bytes);
        // Accepted, as where a letter of a name changed: then it covers the data exactly.
        std::uint64_t end = 0;
        for (const TensorEntry& entry : header.tensors) {
          ASSERT_EQ(entry.begin, end);
          end = entry.end;
        }
        ASSERT_EQ(header.data_offset + end, bytes.size());
      } catch (const Error&) {
      }
    }
  }
}

TEST(Safetensors, AHeaderThatLooksLikeAPickleIsRead) {
  // 0x280 bytes of header: the length prefix begins with 0x80 0x02, as a pickle does.
  std::string header = "{}";
  header.append(0x280 - header.size(), ' ');
  EXPECT_TRUE(parse(with_header(header, 0)).tensors.empty());
}

TEST(Safetensors, PicklesComeWithTheCommandThatConverts) {
  const std::string zip = std::string("PK\x03\x04", 4) + std::string(60, '\0');
  const std::string error = error_of([&] {
    parse_safetensors(std::as_bytes(std::span(zip)), zip.size(), "dir/pytorch_model.bin");
  });
  for (const char* phrase : {"pickled", "weights_only=True", "sys.argv[2:]",
                             " dir/model.safetensors dir/pytorch_model.bin", "save_file"}) {
    EXPECT_TRUE(contains(error, phrase)) << phrase << " in " << error;
  }
}

TEST(Safetensors, WriterRefusesWhatNoReaderTakes) {
  const auto head_of = [](std::vector<TensorEntry> tensors) {
    return error_of([&] { safetensors_head(tensors, {}); });
  };
  TensorEntry entry;
  entry.name = "a";
  entry.shape = {1};
  EXPECT_EQ(head_of({entry}), "");
  EXPECT_TRUE(contains(head_of({entry, entry}), "'a' is taken"));
  entry.name = "__metadata__";
  EXPECT_TRUE(contains(head_of({entry}), "is taken"));
  entry.name = "\xff";
  EXPECT_TRUE(contains(head_of({entry}), "UTF-8"));
  entry.name = "a";
  entry.shape = {std::int64_t{1} << 62};
  EXPECT_TRUE(contains(head_of({entry}), "overflows"));
  entry.shape = {-1};
  EXPECT_TRUE(contains(head_of({entry}), "overflows"));
  TensorEntry half = entry, other = entry;
  half.shape = other.shape = {std::int64_t{1} << 61};
  other.name = "b";
  EXPECT_TRUE(contains(head_of({half, other}), "'b'"));
}

}  // namespace
}  // namespace mnm
