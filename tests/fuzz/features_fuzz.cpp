#include "dataset/feature_file.h"
#include "tests/fuzz/fuzz.h"

// The vectors of a file of features, beside two classes; and the classes, beside two vectors.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const mnm::fuzz::Scratch scratch;
  static const bool sound = [] {
    mnm::write_features(scratch / "vectors", {1, {1, 2}, {0, 1}});
    mnm::write_features(scratch / "classes", {1, {1, 2}, {0, 1}});
    return true;
  }();
  const std::string_view bytes = mnm::fuzz::text_of(data, size);
  scratch.write("vectors-X.npy", bytes);
  scratch.write("classes-y.npy", bytes);
  for (const char* name : {"vectors", "classes"}) {
    mnm::fuzz::expect_answer([&] {
      const mnm::Features features = mnm::read_features(scratch / name);
      if (!sound || features.vectors.size() !=
                        features.labels.size() * static_cast<std::size_t>(features.dimension)) {
        std::abort();
      }
    });
  }
  return 0;
}
