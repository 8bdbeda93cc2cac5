#include "base/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <limits>

#include "tests/support/call_by_call.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_dir.h"

namespace {
bool plain_renames_only = false;  // as on NFS
}

// Stands before the C library's, so that tests can take its flags away.
extern "C" int renameat2(int from_directory, const char* from, int to_directory, const char* to,
                         unsigned flags) noexcept {
  if (plain_renames_only && flags != 0) {
    errno = EINVAL;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_renameat2, from_directory, from, to_directory, to, flags));
}

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::contains;
using test::error_of;
using test::slurp;
using test::spew;

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory))
    names.push_back(entry.path().filename());
  std::ranges::sort(names);
  return names;
}

TEST(MappedFile, MapsWholeFilesAndEmptyOnes) {
  const test::TempDir dir;
  spew(dir / "a", "hello");
  spew(dir / "empty", "");
  MappedFile a(dir / "a");
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(a.bytes().data()), a.bytes().size()),
            "hello");
  EXPECT_EQ(a.path(), dir / "a");
  std::byte letter{};
  a.read(1, {&letter, 1});
  EXPECT_EQ(letter, std::byte{'e'});
  EXPECT_THROW(a.read(5, {&letter, 1}), Error);
  MappedFile empty(dir / "empty");
  EXPECT_TRUE(empty.bytes().empty());
  const std::byte* at = a.bytes().data();
  empty = std::move(a);
  EXPECT_EQ(empty.bytes().data(), at);
  MappedFile moved(std::move(empty));
  EXPECT_EQ(moved.bytes().size(), 5u);
}

TEST(MappedFile, RefusesWhatIsNoFile) {
  const test::TempDir dir;
  ASSERT_EQ(::mkfifo((dir / "fifo").c_str(), 0600), 0);
  EXPECT_TRUE(contains(error_of([&] { MappedFile(dir / "none"); }), "No such file"));
  EXPECT_TRUE(contains(error_of([&] { MappedFile{dir.path()}; }), "is a directory"));
  EXPECT_TRUE(contains(error_of([&] { MappedFile(dir / "fifo"); }), "device or pipe"));
  EXPECT_TRUE(contains(error_of([&] { MappedFile("/dev/zero"); }), "device or pipe"));
}

TEST(MappedFile, LeavesNoDescriptorBehind) {
  const test::TempDir dir;
  spew(dir / "a", "hello");
  const auto descriptors = [] { return names_in("/proc/self/fd").size(); };
  const std::size_t before = descriptors();
  for (int i = 0; i < 10; ++i) {
    MappedFile a(dir / "a"), b(dir / "a");
    a = std::move(b);
    error_of([&] { MappedFile{dir.path()}; });
    error_of([&] { OutputFile(dir / "no/such"); });
    error_of([&] { AtomicDirectory(dir / "a"); });
    AtomicDirectory dropped(dir / "new");
    write_file_atomically(dir / "text", "x");
  }
  EXPECT_EQ(descriptors(), before);
}

TEST(OutputFile, WritesMixWithTheDescriptor) {
  const test::TempDir dir;
  spew(dir / "a", "something longer than what follows");
  OutputFile out(dir / "a");
  out.write("ab");
  ASSERT_EQ(::write(out.descriptor(), "cd", 2), 2);
  EXPECT_EQ(out.position(), 4u);
  out.write(std::as_bytes(std::span("ef", 2)));
  out.write("");
  out.close();
  EXPECT_EQ(slurp(dir / "a"), "abcdef");
}

TEST(OutputFile, PiecesComeOneAfterAnother) {
  test::TempDir dir;
  std::string text(300'000, '\0');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 31 + i / 251);
  // More than one system call takes, empty ones among them, and one that is longer than a write.
  std::vector<std::span<const std::byte>> pieces;
  const auto bytes = std::as_bytes(std::span(text));
  std::size_t at = 0;
  for (std::size_t i = 0; i < 3000; ++i) {
    pieces.push_back(bytes.subspan(at, i % 7));
    at += i % 7;
  }
  pieces.push_back(bytes.subspan(at));
  OutputFile out(dir / "a");
  out.write(std::string_view("head"));
  out.write(pieces);
  out.write(std::span<const std::span<const std::byte>>());
  out.close();
  EXPECT_TRUE(slurp(dir / "a") == "head" + text);
  OutputFile full("/dev/full");
  EXPECT_TRUE(contains(error_of([&] { full.write(pieces); }), "No space left"));
}

TEST(OutputFile, AFullDiskIsOneSentence) {
  OutputFile full("/dev/full");
  const std::string error = error_of([&] { full.write("x"); });
  EXPECT_TRUE(contains(error, "/dev/full") && contains(error, "No space left")) << error;
  OutputFile null("/dev/null");  // has nothing to flush
  null.write("x");
  EXPECT_EQ(error_of([&] { null.close(); }), "");
  const test::TempDir dir;
  EXPECT_TRUE(contains(error_of([&] { OutputFile(dir / "no/such"); }), "No such file"));
}

// Nothing against any directory.
std::string anything(const fs::path&) { return ""; }

TEST(AtomicDirectory, AppearsOnlyAtCommit) {
  const test::TempDir dir;
  {
    AtomicDirectory made(dir / "out/");
    EXPECT_EQ(made.path().parent_path(), dir.path());
    EXPECT_TRUE(contains(made.path().filename().string(), ".out.partial-"));
    spew(made.path() / "file", "content");
    EXPECT_FALSE(fs::exists(dir / "out"));
    made.commit();
    EXPECT_EQ(slurp(dir / "out/file"), "content");
  }
  EXPECT_EQ(names_in(dir.path()), (std::vector<std::string>{"out"}));
}

// What is unfinished has a longer name than it will have, but for the longest.
TEST(AtomicDirectory, TakesTheLongestNames) {
  const test::TempDir dir;
  const std::string longest(255, 'n');
  AtomicDirectory made(dir / longest);
  made.commit();
  write_file_atomically(dir / std::string(255, 'f'), "x");
  EXPECT_EQ(names_in(dir.path()), (std::vector<std::string>{std::string(255, 'f'), longest}));
  EXPECT_TRUE(contains(error_of([&] { write_file_atomically(dir / std::string(256, 'f'), "x"); }),
                       "File name too long"));
}

TEST(AtomicDirectory, LeavesNothingWithoutCommit) {
  const test::TempDir dir;
  {
    AtomicDirectory made(dir / "out");
    fs::create_directory(made.path() / "inner");
    spew(made.path() / "inner/file", "content");
  }
  EXPECT_TRUE(names_in(dir.path()).empty());
}

TEST(AtomicDirectory, ReplacesOnlyByForceAndOnlyPlainDirectories) {
  const test::TempDir dir;
  fs::create_directory(dir / "out");
  spew(dir / "out/old", "old");
  EXPECT_TRUE(contains(error_of([&] { AtomicDirectory(dir / "out"); }), "--force"));
  {
    AtomicDirectory made(dir / "out", anything);
    spew(made.path() / "new", "new");
    EXPECT_EQ(names_in(dir / "out"), (std::vector<std::string>{"old"}));
    made.commit(Flush::kToKernel);
  }
  EXPECT_EQ(names_in(dir / "out"), (std::vector<std::string>{"new"}));
  EXPECT_EQ(names_in(dir.path()), (std::vector<std::string>{"out"}));

  spew(dir / "file", "x");
  EXPECT_TRUE(contains(error_of([&] { AtomicDirectory(dir / "file", anything); }), "no directory"));
  fs::create_directories(dir / "home/documents");
  EXPECT_TRUE(contains(error_of([&] { AtomicDirectory(dir / "home", anything); }), "'documents'"));
  EXPECT_TRUE(fs::exists(dir / "home/documents"));
}

TEST(AtomicDirectory, WorksWhereOnlyPlainRenamesDo) {
  const test::TempDir dir;
  plain_renames_only = true;
  for (const bool exists : {false, true}) {
    AtomicDirectory made(dir / "out", exists ? AtomicDirectory::Replaceable(anything) : nullptr);
    spew(made.path() / (exists ? "new" : "old"), "content");
    made.commit();
  }
  EXPECT_EQ(names_in(dir / "out"), (std::vector<std::string>{"new"}));
  {
    AtomicDirectory made(dir / "other");
    fs::create_directories(dir / "other/full");  // an empty one would be used
    EXPECT_TRUE(contains(error_of([&] { made.commit(); }), "meanwhile"));
  }
  plain_renames_only = false;
  EXPECT_EQ(names_in(dir.path()), (std::vector<std::string>{"other", "out"}));
}

TEST(AtomicDirectory, ALinkToADirectoryStandsForIt) {
  const test::TempDir dir;
  fs::create_directories(dir / "disk/real");
  fs::create_directory_symlink("disk/real", dir / "out");
  for (const char* name : {"first", "second"}) {
    AtomicDirectory made(dir / "out", anything);
    EXPECT_EQ(made.path().parent_path(), fs::canonical(dir / "disk"));
    spew(made.path() / name, "x");
    made.commit();
    EXPECT_TRUE(fs::is_symlink(dir / "out"));
    EXPECT_EQ(names_in(dir / "disk/real"), (std::vector<std::string>{name}));
  }
  fs::create_directory_symlink("nowhere", dir / "dangling");
  EXPECT_TRUE(
      contains(error_of([&] { AtomicDirectory(dir / "dangling", anything); }), "no directory"));
}

TEST(AtomicDirectory, AnEmptyDirectoryIsUsed) {
  const test::TempDir dir;
  for (const bool plain : {false, true}) {
    plain_renames_only = plain;
    fs::create_directory(dir / "out");
    AtomicDirectory made(dir / "out");
    spew(made.path() / "file", "x");
    made.commit();
    EXPECT_EQ(names_in(dir / "out"), (std::vector<std::string>{"file"}));
    fs::remove_all(dir / "out");
  }
  plain_renames_only = false;
}

TEST(AtomicDirectory, WhatMayNotBeReplacedStays) {
  const test::TempDir dir;
  fs::create_directory(dir / "out");
  const auto refusing = [](const fs::path& directory) {
    return fs::exists(directory / "thesis.tex") ? std::string("it holds 'thesis.tex'") : "";
  };
  AtomicDirectory made(dir / "out", refusing);
  spew(dir / "out/thesis.tex", "three years");
  EXPECT_TRUE(contains(error_of([&] { AtomicDirectory(dir / "out", refusing); }), "'thesis.tex'"));
  EXPECT_TRUE(contains(error_of([&] { made.commit(); }), "'thesis.tex'"));
  EXPECT_EQ(slurp(dir / "out/thesis.tex"), "three years");
}

// Another user's directory in one that all may write: its files would be left behind.
TEST(AtomicDirectory, WhatCannotBeRemovedIsNotReplaced) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs two users";
  const test::TempDir dir;
  fs::permissions(dir.path(), fs::perms::all);
  fs::create_directory(dir / "out");
  spew(dir / "out/config.json", "{}");
  const pid_t child = ::fork();
  if (child == 0) {
    bool refused = false;
    if (::setgid(65534) == 0 && ::setuid(65534) == 0) {
      refused = contains(error_of([&] { AtomicDirectory(dir / "out", anything); }),
                         "cannot be removed: Permission denied");
    }
    ::_exit(refused ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(fs::exists(dir / "out/config.json"));
}

TEST(AtomicDirectory, ATargetThatAppearsMeanwhileStays) {
  const test::TempDir dir;
  for (const bool force : {false, true}) {
    AtomicDirectory made(dir / "out", force ? AtomicDirectory::Replaceable(anything) : nullptr);
    fs::create_directories(dir / "out/inner");
    EXPECT_NE(error_of([&] { made.commit(); }), "");
    EXPECT_TRUE(fs::exists(dir / "out/inner"));
    fs::remove_all(dir / "out");
  }
}

TEST(AtomicDirectory, RefusesPlacesWhereNothingCanBe) {
  const test::TempDir dir;
  spew(dir / "file", "x");
  const auto error = [](const fs::path& path) {
    return error_of([&] { AtomicDirectory(path, anything); });
  };
  EXPECT_TRUE(contains(error(dir / "no/such/out"), "there is no directory"));
  EXPECT_NE(error(dir / "file/out"), "");
  EXPECT_TRUE(contains(error(""), "names no new"));
  EXPECT_TRUE(contains(error("."), "names no new"));
  EXPECT_TRUE(contains(error(".."), "names no new"));
  EXPECT_TRUE(contains(error("/"), "names no new"));
  EXPECT_TRUE(contains(error(dir / std::string(256, 'n')), "File name too long"));
  EXPECT_TRUE(contains(error("/proc/out"), "cannot write '/proc/out'"));
}

TEST(AtomicDirectory, TwoWritersOfOneTargetDoNotMix) {
  const test::TempDir dir;
  AtomicDirectory first(dir / "out"), second(dir / "out");
  EXPECT_NE(first.path(), second.path());
  spew(first.path() / "file", "first");
  spew(second.path() / "file", "second");
  second.commit();
  EXPECT_TRUE(contains(error_of([&] { first.commit(); }), "meanwhile"));
  EXPECT_EQ(slurp(dir / "out/file"), "second");
}

TEST(AtomicDirectory, RemovesStaleSiblingsAndNoOthers) {
  const test::TempDir dir;
  fs::create_directory(dir / ".out.partial-123456789");
  spew(dir / ".out.partial-123456789/file", "x");
  spew(dir / ".out.partial-123456789.mark", "");
  fs::create_directory(dir / ".out.partial-12.3");  // killed before it had a mark
  fs::create_directory(dir / ".out2.partial-123456789");
  spew(dir / ".out.partial", "not ours");
  fs::create_directory(dir / ".out.partial-7");
  const int alive = ::open((dir / ".out.partial-7").c_str(), O_RDONLY);
  ASSERT_EQ(::flock(alive, LOCK_EX | LOCK_NB), 0);
  { AtomicDirectory made(dir / "out"); }
  EXPECT_EQ(names_in(dir.path()), (std::vector<std::string>{".out.partial", ".out.partial-7",
                                                            ".out2.partial-123456789"}));
  ::close(alive);
}

// A hidden name with a number in it says nothing of who made a directory.
TEST(AtomicDirectory, LeavesWhatOthersMadeUnderSuchNames) {
  const test::TempDir dir;
  std::vector<std::string> names;
  for (const std::string name : {".out.partial-99", ".out.partial-98.old", ".out.partial-97.1",
                                 ".out.partial-x", ".out.partial-9.x", ".out.partial-"}) {
    fs::create_directory(dir / name);
    spew(dir / name / "thesis.tex", "t");
    names.push_back(name);
  }
  // What is called a mark and holds something is none.
  spew(dir / ".out.partial-99.mark", "t");
  names.push_back(".out.partial-99.mark");
  AtomicDirectory(dir / "out").commit();
  write_file_atomically(dir / "out/file", "x");
  names.push_back("out");
  std::ranges::sort(names);
  EXPECT_EQ(names_in(dir.path()), names);
  EXPECT_EQ(slurp(dir / ".out.partial-99/thesis.tex"), "t");
  EXPECT_EQ(slurp(dir / ".out.partial-99.mark"), "t");
}

constexpr int kFiles = 3;

void write_generation(const fs::path& target, const std::string& content) {
  AtomicDirectory made(target, anything);
  for (int i = 0; i < kFiles; ++i) {
    OutputFile out(made.path() / std::to_string(i));
    out.write(content);
    out.close(Flush::kToKernel);
  }
  made.commit(Flush::kToKernel);
}

// Kills the writer at every moment, again and again, until one ends by itself.
void expect_whole_generations(bool without_flags) {
  const test::TempDir dir;
  const auto expect_whole = [&](int round) {
    const auto names = names_in(dir / "out");
    ASSERT_EQ(names.size(), static_cast<std::size_t>(kFiles)) << "round " << round;
    const std::string first = slurp(dir / "out/0");
    ASSERT_TRUE(first.starts_with("generation ")) << first;
    for (const std::string& name : names) ASSERT_EQ(slurp(dir / "out" / name), first);
  };
  write_generation(dir / "out", "generation -1");
  int round = 0, vacant = 0;
  std::string last;
  for (bool killed = true; killed; ++round) {
    const std::string content = "generation " + std::to_string(round);
    killed = test::killed_at(round, [&] {
      plain_renames_only = without_flags;
      write_generation(dir / "out", content);
    });
    // For a moment nothing has the name, where a file system cannot swap two directories. The next
    // writer puts back what had it, whatever becomes of its own.
    if (without_flags && !fs::exists(dir / "out")) ++vacant;
    if (without_flags) AtomicDirectory(dir / "out", anything);
    ASSERT_NO_FATAL_FAILURE(expect_whole(round));
    last = slurp(dir / "out/0");
  }
  EXPECT_GT(round, 4 * kFiles) << "hardly a moment was visited";
  EXPECT_EQ(vacant > 0, without_flags);
  EXPECT_EQ(last, "generation " + std::to_string(round - 1)) << "it ended by itself";
  EXPECT_EQ(names_in(dir.path()), (std::vector<std::string>{"out"}));
}

TEST(AtomicDirectory, AKillAtAnyMomentLeavesOneWholeGeneration) {
  expect_whole_generations(false);
  expect_whole_generations(true);
}

TEST(AtomicDirectory, WhatAKilledWriterMovedAsideIsPutBack) {
  const test::TempDir dir;
  const auto leave = [&] {
    fs::create_directory(dir / ".out.partial-123456789");
    fs::create_directory(dir / ".out.partial-123456789.old");
    spew(dir / ".out.partial-123456789.old/file", "the only copy");
    spew(dir / ".out.partial-123456789.mark", "");
  };
  leave();
  // It is there again before the next writer asks what is there.
  EXPECT_TRUE(contains(error_of([&] { AtomicDirectory(dir / "out"); }), "it exists"));
  EXPECT_EQ(slurp(dir / "out/file"), "the only copy");
  EXPECT_EQ(names_in(dir.path()), (std::vector<std::string>{"out"}));
  // Where the writer came to its end, what was replaced goes.
  leave();
  spew(dir / "out/file", "the new one");
  { AtomicDirectory made(dir / "out", anything); }
  EXPECT_EQ(slurp(dir / "out/file"), "the new one");
  EXPECT_EQ(names_in(dir.path()), (std::vector<std::string>{"out"}));
}

TEST(AtomicDirectory, AKillBeforeCommitLeavesNothingUnderTheName) {
  const test::TempDir dir;
  const bool killed = test::killed_at(std::numeric_limits<int>::max(), [&] {
    AtomicDirectory made(dir / "out");
    spew(made.path() / "file", "content");
    ::raise(SIGKILL);
  });
  EXPECT_TRUE(killed);
  EXPECT_FALSE(fs::exists(dir / "out"));
  { AtomicDirectory made(dir / "out"); }
  EXPECT_TRUE(names_in(dir.path()).empty());
}

TEST(WriteFileAtomically, ReplacesWholeFiles) {
  const test::TempDir dir;
  write_file_atomically(dir / "a", "one");
  EXPECT_EQ(slurp(dir / "a"), "one");
  write_file_atomically(dir / "a", "");
  EXPECT_EQ(slurp(dir / "a"), "");
  spew(dir / ".a.partial-123456789", "stale");
  write_file_atomically(dir / "a", "three");
  EXPECT_EQ(names_in(dir.path()), (std::vector<std::string>{"a"}));
  fs::create_directory(dir / "d");
  EXPECT_TRUE(contains(error_of([&] { write_file_atomically(dir / "d", "x"); }), "directory"));
  EXPECT_TRUE(
      contains(error_of([&] { write_file_atomically(dir / "no/a", "x"); }), "no directory"));
  EXPECT_EQ(names_in(dir.path()), (std::vector<std::string>{"a", "d"}));
}

TEST(WriteFileAtomically, AKillLeavesTheOldOrTheNew) {
  const test::TempDir dir;
  write_file_atomically(dir / "a", "old");
  bool killed = true;
  for (int round = 0; killed; ++round) {
    killed = test::killed_at(round, [&] { write_file_atomically(dir / "a", "new"); });
    const std::string text = slurp(dir / "a");
    ASSERT_TRUE(text == "new" || (killed && text == "old")) << text;
  }
}

TEST(AtomicFile, TakesThePlaceOfAFileAlone) {
  const test::TempDir dir;
  ASSERT_EQ(mkfifo((dir / "pipe").c_str(), 0600), 0);
  fs::create_directory(dir / "d");
  fs::create_symlink("pipe", dir / "to_pipe");
  fs::create_symlink("d", dir / "to_d");
  for (const char* name : {"pipe", "to_pipe"}) {
    const std::string error = error_of([&] { write_file_atomically(dir / name, "x"); });
    EXPECT_TRUE(contains(error, "pipe has that name")) << error;
    EXPECT_TRUE(fs::is_fifo(dir / name));
  }
  for (const char* name : {"d", "to_d"}) {
    const std::string error = error_of([&] { write_file_atomically(dir / name, "x"); });
    EXPECT_TRUE(contains(error, "directory has that name")) << error;
    EXPECT_TRUE(fs::is_directory(dir / name));
  }
  fs::create_symlink("nowhere", dir / "to_nothing");
  write_file_atomically(dir / "to_nothing", "x");
  EXPECT_EQ(slurp(dir / "to_nothing"), "x");
  EXPECT_EQ(names_in(dir.path()),
            (std::vector<std::string>{"d", "pipe", "to_d", "to_nothing", "to_pipe"}));
}

// What cannot be written is named as the user named it, not as it is called meanwhile.
TEST(OutputFile, ErrorsNameTheTargetOfAPartialFile) {
  const test::TempDir dir;
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small = before;
  small.rlim_cur = 10;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string of_file =
      error_of([&] { write_file_atomically(dir / "a.svg", std::string(20, 'x')); });
  const std::string of_directory = error_of([&] {
    const AtomicDirectory out(dir / ".out.partial-x");
    OutputFile(out.path() / "config.json").write(std::string(20, 'x'));
  });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(of_file, "cannot write '" + (dir / "a.svg").string() + "': File too large");
  EXPECT_EQ(of_directory,
            "cannot write '" + (dir / ".out.partial-x/config.json").string() + "': File too large");
}

// Of several files that belong together, none is replaced before all are written.
TEST(AtomicFile, WhatIsThereStaysUntilTheCommit) {
  const test::TempDir dir;
  spew(dir / "a", "old");
  {
    AtomicFile a(dir / "a"), b(dir / "b");
    spew(a.path(), "new");
    spew(b.path(), "new");
    EXPECT_EQ(slurp(dir / "a"), "old");
    EXPECT_FALSE(fs::exists(dir / "b"));
    b.commit();
  }
  EXPECT_EQ(slurp(dir / "a"), "old");
  EXPECT_EQ(slurp(dir / "b"), "new");
  EXPECT_EQ(names_in(dir.path()), (std::vector<std::string>{"a", "b"}));
}

TEST(RequireSpace, IsAskedOfTheTargetsPlace) {
  const test::TempDir dir;
  EXPECT_NO_THROW(require_space(0, dir / "a"));
  const std::string error = error_of([&] { require_space(std::uint64_t{1} << 62, dir / "a"); });
  EXPECT_TRUE(contains(error, "4611686018427387904 bytes to '" + dir.path().string())) << error;
}

TEST(ReadText, SizesAreBounded) {
  const test::TempDir dir;
  spew(dir / "a", "12345");
  EXPECT_EQ(read_text(dir / "a"), "12345");
  EXPECT_EQ(read_text(dir / "a", 5), "12345");
  EXPECT_TRUE(contains(error_of([&] { read_text(dir / "a", 4); }), "5 bytes, where at most 4"));
  EXPECT_TRUE(contains(error_of([&] { read_text(dir / "b"); }), "No such file"));
  EXPECT_TRUE(contains(error_of([&] { read_text(dir.path()); }), "is a directory"));
}

TEST(FreeBytes, IsSomething) {
  const test::TempDir dir;
  EXPECT_GT(free_bytes(dir.path()), 0u);
  EXPECT_TRUE(contains(error_of([&] { free_bytes(dir / "none"); }), "none"));
}

}  // namespace
}  // namespace mnm
