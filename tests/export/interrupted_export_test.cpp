// Exports that fail or are killed at any moment: nothing is ever seen under the final name but a
// whole export, and what a killed one left is gone after the next.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "base/error.h"
#include "base/file.h"
#include "export/gguf_writer.h"
#include "export/huggingface.h"
#include "extract/read_ahead.h"
#include "model/own_files.h"
#include "tests/export/exported.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::files_in;
using test::HandModel;
using test::TempDir;

constexpr int kSkipped = 77;

// What `mixnmatch export` does, without the check.
void export_atomically(const HandModel& hand, const fs::path& source, const fs::path& target,
                       bool force, const ProgressSink& progress = {}) {
  const Checkpoint checkpoint = Checkpoint::open(source);
  const HuggingFacePlan plan = plan_huggingface(
      hand.model, checkpoint, {4, 2, 1}, {{"config.json", "{\"mixnmatch\": {}}\n"}},
      {.dtype = Dtype::kF32, .shard_bytes = 20'000, .metadata = {}});
  AtomicDirectory directory(target, force ? AtomicDirectory::Replaceable(why_not_ours) : nullptr);
  write_huggingface(plan, checkpoint, directory.path(), progress);
  write_own_files_list(directory.path());
  directory.commit();
}

// The exit status of `body` in a process of its own.
int in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    int status = 99;
    try {
      status = body();
    } catch (const std::exception& error) {
      fprintf(stderr, "in child: %s\n", error.what());
    }
    ::_exit(status);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// 0 if the export fails with an Error that holds `part` and leaves nothing in `directory`.
int expect_failure(const HandModel& hand, const fs::path& source, const fs::path& directory,
                   const std::string& part, const ProgressSink& progress = {}) {
  try {
    export_atomically(hand, source, directory / "out", false, progress);
  } catch (const Error& error) {
    for (const auto& entry : fs::directory_iterator(directory)) {
      if (entry.path().filename() == "filler") continue;
      fprintf(stderr, "left behind: %s\n", entry.path().c_str());
      return 2;
    }
    if (std::string(error.what()).find(part) != std::string::npos) return 0;
    fprintf(stderr, "says: %s\n", error.what());
    return 3;
  }
  fprintf(stderr, "the export did not fail\n");
  return 4;
}

TEST(InterruptedExport, FileSizeLimit) {
  const HandModel hand(3, Dtype::kF32, 20);
  TempDir dir;
  hand.write(dir / "model");
  fs::create_directory(dir / "target");
  for (rlim_t limit : {0u, 1u, 100u, 4096u, 10'000u}) {
    EXPECT_EQ(0, in_child([&] {
                ::signal(SIGXFSZ, SIG_IGN);
                const rlimit limits{limit, limit};
                ::setrlimit(RLIMIT_FSIZE, &limits);
                return expect_failure(hand, dir / "model", dir / "target", "File too large");
              }))
        << limit;
  }
}

// Whoever is not root may be it among processes of its own, where the system allows that.
bool become_root_of_a_namespace() {
  const uid_t user = ::geteuid();
  const gid_t group = ::getegid();
  if (user == 0) return true;
  if (::unshare(CLONE_NEWUSER) != 0) return false;
  std::ofstream("/proc/self/setgroups") << "deny";
  std::ofstream("/proc/self/uid_map") << "0 " << user << " 1";
  std::ofstream("/proc/self/gid_map") << "0 " << group << " 1";
  return ::geteuid() == 0;
}

// Mounts a file system of `bytes` at `directory` that only this process sees.
bool mount_privately(const fs::path& directory, const std::string& bytes, unsigned long flags = 0) {
  return become_root_of_a_namespace() && ::unshare(CLONE_NEWNS) == 0 &&
         ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount("none", directory.c_str(), "tmpfs", flags, ("size=" + bytes).c_str()) == 0;
}

TEST(InterruptedExport, FullDisk) {
  const HandModel hand(3, Dtype::kF32, 20);
  TempDir dir;
  hand.write(dir / "model");
  fs::create_directory(dir / "target");
  struct Case {
    const char* bytes;
    bool fill;  // the space is taken by others once the export has begun
    const char* part;
  };
  const Case cases[] = {{"16k", false, "free there"}, {"1m", true, "No space left"}};
  for (const Case& c : cases) {
    const int status = in_child([&] {
      if (!mount_privately(dir / "target", c.bytes)) return kSkipped;
      return expect_failure(hand, dir / "model", dir / "target", c.part, [&](const Progress&) {
        if (c.fill) std::ofstream(dir / "target/filler") << std::string(2'000'000, 'x');
        return true;
      });
    });
    if (status == kSkipped) GTEST_SKIP() << "mounting a small file system is forbidden here";
    EXPECT_EQ(status, 0) << c.bytes;
  }
}

TEST(InterruptedExport, ReadOnlyTarget) {
  const HandModel hand;
  TempDir dir;
  hand.write(dir / "model");
  fs::create_directory(dir / "target");
  const int status = in_child([&] {
    if (::geteuid() != 0) {
      fs::permissions(dir / "target", fs::perms::owner_read | fs::perms::owner_exec);
      return expect_failure(hand, dir / "model", dir / "target", "Permission denied");
    }
    if (!mount_privately(dir / "target", "1m", MS_RDONLY)) return kSkipped;
    return expect_failure(hand, dir / "model", dir / "target", "Read-only file system");
  });
  if (status == kSkipped) GTEST_SKIP() << "mounting is forbidden here";
  EXPECT_EQ(status, 0);
}

TEST(InterruptedExport, ExistingTargetStaysUnlessForced) {
  const HandModel hand;
  TempDir dir;
  hand.write(dir / "model");
  // A directory that this program did not write stays whatever is asked.
  fs::create_directory(dir / "out");
  test::spew(dir / "out/mine", "kept");
  for (const bool force : {false, true}) {
    EXPECT_THROW(export_atomically(hand, dir / "model", dir / "out", force), Error);
    EXPECT_EQ(files_in(dir / "out").at("mine"), "kept");
  }
  fs::remove_all(dir / "out");
  // An export stays unless it is forced, and where that is stopped on the way.
  export_atomically(hand, dir / "model", dir / "out", false);
  const auto earlier = files_in(dir / "out");
  EXPECT_THROW(export_atomically(hand, dir / "model", dir / "out", false), Error);
  EXPECT_THROW(export_atomically(hand, dir / "model", dir / "out", true,
                                 [](const Progress&) { return false; }),
               Stopped);
  EXPECT_EQ(files_in(dir / "out"), earlier);
  export_atomically(hand, dir / "model", dir / "out", true);
  EXPECT_NO_THROW(Checkpoint::open(dir / "out"));
}

TEST(InterruptedExport, KilledAtEveryStep) {
  const HandModel hand(3, Dtype::kF32, 20);
  TempDir dir;
  hand.write(dir / "model");
  fs::create_directory(dir / "target");
  const fs::path target = dir / "target/out";
  int steps = 0;
  export_atomically(hand, dir / "model", dir / "reference", false,
                    [&](const Progress&) { return ++steps, true; });
  const auto reference = files_in(dir / "reference");
  ASSERT_GT(steps, 10);
  for (int fatal = 1; fatal <= steps; ++fatal) {
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      int step = 0;
      export_atomically(hand, dir / "model", target, false, [&](const Progress&) {
        if (++step == fatal) {
          if (::write(ready[1], "", 1) != 1) ::_exit(1);
          ::pause();
        }
        return true;
      });
      ::_exit(0);
    }
    ::close(ready[1]);
    char byte = 0;
    ASSERT_EQ(::read(ready[0], &byte, 1), 1);  // the child is at its step
    ::close(ready[0]);
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status));
    EXPECT_FALSE(fs::exists(target));
    // The next attempt clears this one's remains away before it makes its own: a directory and its
    // mark.
    const auto remains = std::distance(fs::directory_iterator(dir / "target"), {});
    EXPECT_EQ(remains, 2);
  }
  export_atomically(hand, dir / "model", target, false);
  EXPECT_EQ(files_in(target), reference);
  EXPECT_EQ(std::distance(fs::directory_iterator(dir / "target"), {}), 1);
}

long status_kib(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    long value = 0;
    if (word == key + ":" && status >> value) return value;
  }
  return -1;
}

// 256 MiB of tensors, each of 64 MiB, in a file without blocks; cut and converted in 16 MiB, and
// what is read ahead.
TEST(ExportMemory, StaysFlat) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizer keeps freed memory";
#endif
  TempDir dir;
  NestedModel model;
  std::vector<TensorEntry> entries;
  for (const char* name : {"0.up", "0.down", "1.up", "1.down"}) {
    TensorSpec spec;
    spec.name = name;
    spec.layer = name[0] - '0';
    spec.cut_dim = name[2] == 'u' ? 0 : 1;
    spec.shape = spec.cut_dim == 0 ? std::vector<std::int64_t>{16'384, 2048}
                                   : std::vector<std::int64_t>{2048, 16'384};
    spec.pieces = {{.num = 1}};
    TensorEntry& entry = entries.emplace_back();
    entry.name = name;
    entry.dtype = Dtype::kBF16;
    entry.shape = spec.shape;
    model.table.tensors.push_back(spec);
  }
  model.space.layers.resize(2);
  for (LayerChoices& layer : model.space.layers) layer.granularities = {4096, 8192, 16'384};
  fs::create_directory(dir / "model");
  test::spew(dir / "model/config.json", "{}");
  const std::string head = safetensors_head(entries, {});
  test::spew(dir / "model/model.safetensors", head);
  fs::resize_file(dir / "model/model.safetensors", head.size() + entries.back().end);

  GgufModel gguf;
  for (const TensorSpec& spec : model.table.tensors) {
    const bool rotary = spec.cut_dim == 0;  // some of the rows change places
    gguf.tensors.push_back({spec.name, spec.name, rotary ? 16 : 0, {}});
  }
  using Plan = std::function<std::unique_ptr<PlannedExport>(const Checkpoint&)>;
  const auto huggingface = [&](Dtype dtype) -> Plan {
    return [&model, dtype](const Checkpoint& checkpoint) {
      return huggingface_export(
          plan_huggingface(model, checkpoint, {4096, 8192}, {}, {.dtype = dtype, .metadata = {}}),
          false);
    };
  };
  const auto one_file = [&](GgufType type) -> Plan {
    return [&model, &gguf, type](const Checkpoint& checkpoint) {
      return plan_gguf(model, checkpoint, {4096, 8192}, gguf, {}, {type, {}});
    };
  };
  constexpr long most =
      static_cast<long>((ReadAhead::kAhead + ReadAhead::kStep) >> 10) + 16 * 1024;  // KiB
  for (const Plan& plan_of : {huggingface(Dtype::kBF16), huggingface(Dtype::kF32),
                              one_file(GgufType::kBF16), one_file(GgufType::kQ8_0)}) {
    EXPECT_EQ(0, in_child([&] {
                std::ofstream("/proc/self/clear_refs") << 5;  // VmHWM counts anew
                const long before = status_kib("VmRSS");
                const Checkpoint checkpoint = Checkpoint::open(dir / "model");
                const auto plan = plan_of(checkpoint);
                fs::create_directory(dir / "out");
                plan->write(checkpoint, dir / "out");
                fs::remove_all(dir / "out");
                const long peak = status_kib("VmHWM");
                fprintf(stderr, "%s %s: %ld KiB\n", std::string(plan->format()).c_str(),
                        std::string(plan->dtype()).c_str(), peak - before);
                return before > 0 && peak >= before && peak - before < most ? 0 : 1;
              }));
  }
}

}  // namespace
}  // namespace mnm
