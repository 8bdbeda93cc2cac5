#include "extract/read_ahead.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

using test::TempDir;

TEST(ReadAhead, GoesNoFurtherThanIsBoundedAndOnWhenThatIsDone) {
  TempDir dir;
  test::spew(dir / "f", std::string(1000, 'x'));
  const SourceFile file(dir / "f");
  TensorCopy copy;
  copy.rows = 1;
  copy.row_bytes = copy.bytes = 3 * ReadAhead::kAhead;  // asking past the end of a file is no error
  copy.kept = {{0, copy.bytes}};
  ReadAhead ahead({{&file, copy}, {&file, copy}});
  ahead.await(1);
  ahead.await(5 * ReadAhead::kAhead);  // more than it goes ahead: all that it does
  const std::uint64_t all = 2 * copy.bytes;
  for (std::uint64_t done = 0; done < all; done += ReadAhead::kAhead / 4) {
    ahead.await(std::min(all, done + ReadAhead::kAhead / 2));
    ahead.done(done);
  }
  ahead.await(all);
}

TEST(ReadAhead, EndsBeforeItsTime) {
  TempDir dir;
  test::spew(dir / "f", std::string(1000, 'x'));
  const SourceFile file(dir / "f");
  TensorCopy copy;
  copy.rows = 1;
  copy.row_bytes = copy.bytes = 3 * ReadAhead::kAhead;
  copy.kept = {{0, copy.bytes}};
  { const ReadAhead ahead({{&file, copy}}); }
  ReadAhead nothing({});
  nothing.await(0);
}

}  // namespace
}  // namespace mnm
