// Files and directories that appear whole or not at all, held against a map through random
// operations, many of which are killed on their way.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <thread>

#include "base/file.h"
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
  std::mt19937 random_{7};
};

// In a process of its own, which is killed after `microseconds` if it runs as long. Whether it was
// not.
bool finishes(const Write& write, const fs::path& directory, std::size_t microseconds) {
  const pid_t child = fork();
  if (child == 0) {
    try {
      write.carry_out(directory);
    } catch (...) {
      _exit(1);
    }
    _exit(0);
  }
  if (microseconds > 0) {
    std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
    kill(child, SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_FALSE(WIFEXITED(status) && WEXITSTATUS(status) != 0) << write.name;
  return WIFEXITED(status);
}

TEST(AtomicTargets, AgreeWithAMapThroughKills) {
  const test::TempDir directory;
  Random random;
  Tree model;
  std::size_t killed = 0;
  // 200 rounds; more on a machine so fast that nearly every write ends before it is killed.
  for (int round = 0; round < 200 || (killed <= 5 && round < 20'000); ++round) {
    const Write write = random.write(model);
    Tree after = model;
    write.apply(after);
    const bool to_the_end = round % 4 == 0;
    const bool done = finishes(write, directory.path(), to_the_end ? 0 : 1 + random.below(4'000));
    const Tree found = tree_of(directory.path());
    if (done) {
      ASSERT_EQ(found, after) << round << " " << write.name;
    } else {
      ASSERT_TRUE(found == model || found == after) << round << " " << write.name;
      ++killed;
    }
    model = found;
    if (random.below(3) == 0) {
      const std::string gone = fmt::format("d{}", random.below(3));
      fs::remove_all(directory / gone);
      std::erase_if(model, [&](const auto& file) { return file.first.starts_with(gone + "/"); });
    }
  }
  EXPECT_GT(killed, 5u) << "no kill came in time: the test has tested nothing";
  // What the killed ones left is removed by the next write of the same name.
  for (const std::string name : {"d0", "d1", "d2", "f0", "f1", "f2"}) {
    fs::remove_all(directory / name);
    const Write last{name, {{name.starts_with('d') ? "1" : "", "last"}}};
    ASSERT_TRUE(finishes(last, directory.path(), 0));
  }
  for (const auto& entry : fs::directory_iterator(directory.path())) {
    EXPECT_FALSE(entry.path().filename().string().starts_with('.')) << entry.path();
  }
}

}  // namespace
}  // namespace mnm
