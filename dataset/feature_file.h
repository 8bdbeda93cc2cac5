// Features as two NumPy files, the layout of Matryoshka Representation Learning's retrieval code:
//   NAME-X.npy  f32 [count, dimension]
//   NAME-y.npy  int64 [count]: classes (int32 and uint8 are read too)
#pragma once

#include <filesystem>
#include <string>

#include "dataset/feature_database.h"

namespace mnm {

// The two files. A path that ends in "-X.npy" names such files too.
std::filesystem::path vectors_file(const std::filesystem::path& name);
std::filesystem::path labels_file(const std::filesystem::path& name);

// Whether the file of vectors is there.
bool is_feature_file(const std::filesystem::path& name);

// Error, which names the file, if one is absent, or is no array of such a type and shape, or if the
// numbers of vectors and classes differ.
Features read_features(const std::filesystem::path& name);

// Both appear under their names whole, the vectors last.
void write_features(const std::filesystem::path& name, const Features& features);

}  // namespace mnm
