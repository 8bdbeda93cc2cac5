// Files and directories that appear whole or not at all, held against a map through random
// operations, many of which are killed on their way.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <map>
#include <random>
#include <string>

#include "base/files.h"
#include "tests/support/call_by_call.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

// What lies in a directory, by path below it: "f1" -> content, "d0/2" -> content.
using Tree = std::map<std::string, std::string>;

// But for hidden names, under which what is not done yet lies.
Tree tree_of(const fs::path& directory) {
  Tree tree;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with('.')) continue;
    if (!entry.is_directory()) {
      tree[name] = test::slurp(entry.path());
      continue;
    }
    for (const auto& file : fs::directory_iterator(entry.path())) {
      tree[name + "/" + file.path().filename().string()] = test::slurp(file.path());
    }
  }
  return tree;
}

// One write: of a file, or of a directory of one to four files.
struct Write {
  std::string name;
  std::map<std::string, std::string> files;  // by name; of a file itself, one without a name

  void apply(Tree& tree) const {
    for (const auto& [file, content] : files)
      tree[file.empty() ? name : name + "/" + file] = content;
  }
  void carry_out(const fs::path& directory) const {
    if (files.contains("")) {
      write_file_atomically(directory / name, files.at(""));
      return;
    }
    AtomicDirectory target(directory / name, {});
    for (const auto& [file, content] : files) {
      OutputFile out(target.path() / file);
      out.write(content);
      out.close(Flush::kToKernel);
    }
    target.commit(Flush::kToKernel);
  }
};

class Random {
 public:
  explicit Random(unsigned seed) : random_(seed) {}
  std::size_t below(std::size_t end) { return random_() % end; }
  std::string content() { return std::string(below(200'000), static_cast<char>('a' + below(26))); }
  // Over any file; in the place of no directory.
  Write write(const Tree& tree) {
    Write write;
    const std::string number = std::to_string(below(3));
    write.name = "d" + number;
    const auto found = tree.lower_bound(write.name + "/");
    const bool taken = found != tree.end() && found->first.starts_with(write.name + "/");
    if (taken || below(2) == 0) {
      write.name = "f" + number;
      write.files[""] = content();
    } else {
      for (std::size_t i = 1 + below(4); i > 0; --i) write.files[std::to_string(i)] = content();
    }
    return write;
  }

 private:
  std::mt19937 random_;
};

TEST(AtomicTargets, AgreeWithAMapThroughKills) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  Random random(seed);
  const test::TempDir directory;
  Tree model;
  int killed = 0, stops = 1;  // the latter of the longest write that came to its end
  for (int round = 0; round < 200; ++round) {
    const Write write = random.write(model);
    Tree after = model;
    write.apply(after);
    // Every fourth comes to its end.
    const int fatal = round % 4 == 0
                          ? std::numeric_limits<int>::max()
                          : static_cast<int>(random.below(static_cast<std::size_t>(stops)));
    const test::Ending ending = test::end_at(fatal, [&] { write.carry_out(directory.path()); });
    const Tree found = tree_of(directory.path());
    if (ending.killed) {
      ASSERT_TRUE(found == model || found == after) << round << " " << write.name;
      ++killed;
    } else {
      ASSERT_EQ(found, after) << round << " " << write.name;
      stops = std::max(stops, ending.stops);
    }
    model = found;
    if (random.below(3) == 0) {
      const std::string gone = fmt::format("d{}", random.below(3));
      fs::remove_all(directory / gone);
      std::erase_if(model, [&](const auto& file) { return file.first.starts_with(gone + "/"); });
    }
  }
  EXPECT_GT(killed, 5) << "hardly a moment was visited";
  // What the killed ones left is removed by the next write of the same name.
  for (const std::string name : {"d0", "d1", "d2", "f0", "f1", "f2"}) {
    fs::remove_all(directory / name);
    const Write last{name, {{name.starts_with('d') ? "1" : "", "last"}}};
    last.carry_out(directory.path());
  }
  for (const auto& entry : fs::directory_iterator(directory.path())) {
    EXPECT_FALSE(entry.path().filename().string().starts_with('.')) << entry.path();
  }
}

}  // namespace
}  // namespace mnm
