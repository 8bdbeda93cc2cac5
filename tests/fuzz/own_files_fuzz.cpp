#include "model/own_files.h"
#include "tests/fuzz/fuzz.h"

// The list of a directory's own files, in a directory with one of them and one of somebody else.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const mnm::fuzz::Scratch scratch;
  scratch.write("config.json", "{}");
  scratch.write("thesis.tex", "written by somebody else");
  scratch.write(mnm::kOwnFilesList, mnm::fuzz::text_of(data, size));
  mnm::fuzz::expect_answer([&] { mnm::why_not_ours(scratch.path()); });
  return 0;
}
