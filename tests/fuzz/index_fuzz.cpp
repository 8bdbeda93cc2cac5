// model.safetensors.index.json beside a config and two shards.
#include "model/checkpoint.h"
#include "tests/fuzz/fuzz.h"

namespace {

std::string shard(const char* name) {
  std::string header = R"({")";
  header.append(name).append(R"(":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})");
  std::string bytes(1, static_cast<char>(header.size()));
  bytes.append(7, '\0').append(header).append(8, '\0');
  return bytes;
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const mnm::fuzz::Scratch scratch;
  static const bool made = [] {
    scratch.write("config.json", R"({"model_type":"llama"})");
    scratch.write("model-00001-of-00002.safetensors", shard("a"));
    scratch.write("model-00002-of-00002.safetensors", shard("b"));
    return true;
  }();
  if (!made) return 0;
  scratch.write("model.safetensors.index.json", mnm::fuzz::text_of(data, size));
  mnm::fuzz::expect_answer([&] { mnm::Checkpoint::open(scratch.path()).fingerprint(); });
  return 0;
}
