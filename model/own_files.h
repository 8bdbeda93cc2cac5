// Recognises directories that this program wrote, so that --force replaces no others.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace mnm {

// The hidden file in which a directory lists the files that were written with it: name, size and
// fingerprint. Other programs keep what they do not know: transformers copies a key of config.json
// into whatever was trained from it. So no name and no key says whose a directory is, and only this
// list does.
inline constexpr const char* kOwnFilesList = ".mixnmatch-files.json";

// Writes the list of the files that the directory holds now. It is the last file to be written.
void write_own_files_list(const std::filesystem::path& directory);

// The bytes of the list of these files (name -> bytes), which are known before anything is written.
std::uint64_t own_files_list_bytes(const std::map<std::string, std::uint64_t>& files);

// The reason why `directory` may not be replaced. Empty if it holds nothing but what this program
// wrote and nobody changed: every file is in the list, with the size and the fingerprint that it
// has there. Of a file past 64 MiB the fingerprint covers samples (SampledBytes). Such a file must
// not be younger than the list either. The answers of runtimes (verified.json), which come later,
// need not be in the list. Files of the list that are gone do not matter.
std::string why_not_ours(const std::filesystem::path& directory);

}  // namespace mnm
