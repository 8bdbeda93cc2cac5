// Interrupted at any moment: the store stays sound, at most a batch is lost, and no export is seen
// half-written under its final name.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <iterator>
#include <set>
#include <sstream>
#include <thread>

#include "tests/end_to_end/workshop.h"

namespace mnm::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Milliseconds = std::chrono::milliseconds;

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<std::string>(in), {}};
}

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

class Kills : public Workshop {
 protected:
  Kills() { tokens("search.bin", 1, 32 * 32 + 1); }

  std::vector<std::string> evolution(const std::string& db) const {
    return search({"--strategy", "evolution", "--population", "16", "--max-evaluations", "160",
                   "--seed", "3"},
                  db);
  }

  // What the search's run and the confirmation hold, by data and in order, without ids.
  static std::vector<std::string> records(const std::string& db) {
    std::vector<std::string> all;
    const Result result = expect_done({"pareto", "--db", db, "--all", "--json"});
    for (const Json& r : result.json()) {
      all.push_back(r["part"].get<std::string>() + " " + r["widths"].get<std::string>() + " " +
                    r["loss"].dump() + " " + r["loss_se"].dump());
    }
    std::sort(all.begin(), all.end());
    return all;
  }

  // How often the program begins or ends a system call.
  static int moments_of(const std::vector<std::string>& command) {
    Running running(mixnmatch_argv(command), Running::Start::kTraced);
    int moments = 0;
    running.hold([&] { return ++moments, false; }, [] {});
    EXPECT_EQ(running.wait().status, 0);
    return moments;
  }

  static Result kill_at(const std::vector<std::string>& command, int moment) {
    Running running(mixnmatch_argv(command), Running::Start::kTraced);
    int moments = 0;
    running.hold([&] { return ++moments == moment; }, [&] { running.signal(SIGKILL); });
    return running.wait();
  }

  static Json unfinished(const std::string& db) {
    const Result result = mixnmatch({"runs", "--db", db, "--json"});
    if (result.status != 0) return {};
    const Json json = result.json();
    for (const Json& run : json["runs"]) {
      if (run["command"] == "search" && run["status"] != "done") return run["run"];
    }
    return {};
  }
};

// What is written is whole, and the program has only to say so: here it waits for a reader of its
// standard output that takes nothing.
TEST_F(Kills, ASignalAfterAnExportIsWholeDoesNotFailIt) {
  const std::string fifo = path("fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  const int pipe = open(fifo.c_str(), O_RDWR | O_NONBLOCK);
  ASSERT_GE(pipe, 0);
  const std::string filling(4096, 'x');
  while (write(pipe, filling.data(), filling.size()) > 0) {
  }
  const std::string line = "exec " + mixnmatch_argv({}).front() + " export " + model_ +
                           " --no-check --widths 8 --out " + path("out") + " >" + fifo;
  Running exporting({"/bin/sh", "-c", line});
  // Until it waits in write(1, ...), as proc(5) shows it.
  const std::string waits = std::to_string(SYS_write) + " 0x1 ";
  const std::string call = "/proc/" + std::to_string(exporting.pid()) + "/syscall";
  while (!exporting.ended() && !slurp(call).starts_with(waits)) {
    std::this_thread::sleep_for(Milliseconds(1));
  }
  EXPECT_TRUE(fs::exists(path("out")));
  exporting.signal(SIGINT);
  std::string taken(1 << 16, ' ');
  while (!exporting.ended()) {
    if (read(pipe, taken.data(), taken.size()) < 0) std::this_thread::sleep_for(Milliseconds(1));
  }
  close(pipe);
  EXPECT_EQ(exporting.wait().status, 0);
  EXPECT_TRUE(fs::exists(path("out/config.json")));
}

// The store comes from a stranger, too.
TEST_F(Kills, SettingsOfARunThatHoldANumberAreASentence) {
  expect_done(search({"--strategy", "uniform"}, db_));
  const std::string change =
      "import json, sqlite3, sys\n"
      "store = sqlite3.connect(sys.argv[1])\n"
      "settings = json.loads(store.execute('select settings from run where id = "
      "1').fetchone()[0])\n"
      "settings['options']['seed'] = 7\n"
      "store.execute('update run set settings = ?, status = ? where id = 1',"
      " (json.dumps(settings), 'stopped'))\n"
      "store.commit()\n";
  ASSERT_EQ(Running({"/usr/bin/env", "python3", "-c", change, db_}).wait().status, 0);
  expect_refused({"search", "--db", db_, "--resume", "1"}, 1, "type number for --seed");
  const std::string deep =
      "import sqlite3, sys\n"
      "store = sqlite3.connect(sys.argv[1])\n"
      "text = '{\"options\": {}, \"x\": ' + '[' * 1000000 + ']' * 1000000 + '}'\n"
      "store.execute('update run set settings = ? where id = 1', (text,))\n"
      "store.commit()\n";
  ASSERT_EQ(Running({"/usr/bin/env", "python3", "-c", deep, db_}).wait().status, 0);
  expect_done({"runs", "--db", db_});
  EXPECT_TRUE(expect_done({"runs", "--db", db_, "--json"}).json()["runs"][0]["settings"].is_null());
  expect_refused({"search", "--db", db_, "--resume", "1"}, 1, "no settings to resume with");
}

// The moments spread over start-up, the batches and the commits between them.
TEST_F(Kills, SearchResumesToTheSameRecords) {
  const std::string whole = path("whole.db");
  const int moments = moments_of(evolution(whole));
  const std::vector<std::string> expected = records(whole);

  const std::string killed = path("killed.db");
  int kills = 0, resumed = 0;
  for (const double share : {0.9, 0.8, 0.97, 0.6, 0.93, 0.7}) {
    const Json run = fs::exists(killed) ? unfinished(killed) : Json();
    if (!run.is_null()) ++resumed;
    const Result result =
        kill_at(run.is_null() ? evolution(killed)
                              : std::vector<std::string>{"search", "--db", killed, "--resume",
                                                         run.dump(), "--threads", "1"},
                static_cast<int>(share * moments));
    if (result.status == -SIGKILL) ++kills;
    if (result.status == 0) {  // what was resumed had less to do
      EXPECT_EQ(records(killed), expected);
      fs::remove(killed);
      continue;
    }
    const Json left = fs::exists(killed) ? unfinished(killed) : Json();
    if (left.is_null()) continue;
    const std::string hint = expect_done({"runs", "--db", killed}).err;
    EXPECT_NE(hint.find("--resume " + left.dump()), std::string::npos) << hint;
  }
  EXPECT_GT(kills, 1);
  EXPECT_GT(resumed, 0);
  const Json run = fs::exists(killed) ? unfinished(killed) : Json();
  expect_done(run.is_null() ? evolution(killed)
                            : std::vector<std::string>{"search", "--db", killed, "--resume",
                                                       run.dump(), "--threads", "1"});
  EXPECT_EQ(records(killed), expected);
}

// As after a kill while its front was confirmed.
TEST_F(Kills, AHalvedSearchThatIsDoneIsConfirmedAgain) {
  std::vector<std::string> halved = evolution(db_);
  halved.push_back("--halving");
  const Result first = expect_done(halved);
  const std::vector<std::string> expected = records(db_);
  const Result again = expect_done({"search", "--db", db_, "--resume", "1", "--threads", "1"});
  EXPECT_EQ(records(db_), expected);
  EXPECT_EQ(lines_of(again.out).size(), lines_of(first.out).size()) << first.out << again.out;
}

TEST_F(Kills, InterruptFinishesTheBatchAndSaysHowToGoOn) {
  const std::string db = path("stopped.db");
  Running search(mixnmatch_argv(evolution(db)), Running::Start::kTraced);
  // As it says its first line, where it waits for the signal: LibTorch is not even loaded.
  ASSERT_TRUE(search.hold([&] { return search.err().find("search:") != std::string::npos; },
                          [&] { search.signal(SIGINT); }));
  const Result result = search.wait();
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("--resume 1"), std::string::npos) << result.err;
  expect_done({"search", "--db", db, "--resume", "1", "--threads", "1"});
  const std::string whole = path("whole.db");
  expect_done(evolution(whole));
  EXPECT_EQ(records(db), records(whole));
}

// Whoever sees a first line may stop it: loading LibTorch and the model come after it.
TEST_F(Kills, CommandsAreInterruptibleFromTheirFirstLine) {
  const std::string long_data = tokens("long.bin", 4, 32 * 4096 + 1);
  const std::string config = (fs::path(model_) / "config.json").string();
  const std::vector<std::vector<std::string>> commands = {
      evolution(path("stopped.db")),
      {"eval", model_, "--data", long_data, "--context", "32", "--widths", "uniform"},
      {"train", config, "--tokens", long_data, "--out", path("trained"), "--steps", "100000",
       "--context", "32"}};
  for (const std::vector<std::string>& command : commands) {
    for (const int signal : {SIGINT, SIGTERM}) {
      Running program(mixnmatch_argv(command));
      ASSERT_TRUE(program.says("\n")) << command.front();
      program.signal(signal);
      const Result result = program.wait();
      EXPECT_EQ(result.status, 1) << command.front() << " by signal " << signal << result.err;
      EXPECT_NE(result.err.find("stopped"), std::string::npos) << result.err;
      fs::remove(path("stopped.db"));
    }
  }
}

// Each, from the first file that it reads: loading LibTorch and the weights come after it, too.
TEST_F(Kills, EveryCommandEndsWithASentenceWhenItIsStopped) {
  expect_done(search({"--strategy", "uniform"}, db_));
  fs::create_directory(path("pictures"));
  for (const char* file : {"q-X.npy", "q-y.npy", "q.jsonl"}) spew(path(file), "x");
  const std::string config = model_ + "/config.json";
  const std::string long_data = tokens("long.bin", 4, 32 * 4096 + 1);
  const std::vector<std::vector<std::string>> commands = {
      {"tokenize", search_, "--train", path("t.bin")},
      {"tasks", path("q.jsonl"), "--model", model_, "--out", path("q.task")},
      {"images", path("pictures"), "--model", model_, "--out", path("set")},
      {"train", config, "--tokens", long_data, "--out", path("run"), "--context", "32"},
      {"nest", model_, "--force", "--data", search_, "--context", "32", "--out", path("nested")},
      {"random", config, "--out", path("random")},
      {"inspect", model_},
      {"eval", model_, "--data", search_, "--context", "32"},
      {"sensitivity", model_, "--data", search_, "--context", "32"},
      {"compare", "--db", db_, "4x4", "32x4"},
      {"runs", "--db", db_},
      {"latency", model_},
      {"bench", model_, "--data", search_, "--context", "32"},
      {"features", model_, "--data", search_, "--out", path("f")},
      {"retrieve", path("q"), "--database", path("q")},
      evolution(path("stopped.db")),
      {"pareto", "--db", db_},
      {"cascade", "4x4", "32x4", "--db", db_},
      {"report", "--db", db_, "--out", path("page.html")},
      {"export", model_, "--widths", "8", "--out", path("out")},
      {"generate", model_, "--prompt", "a"},
      {"serve", model_, "--port", "0"},
      {"draft", model_, "--db", db_}};
  std::set<std::string> tried;
  for (const std::vector<std::string>& command : commands) {
    tried.insert(command.front());
    Running program(mixnmatch_argv(command), Running::Start::kTraced);
    const std::string call = "/proc/" + std::to_string(program.pid()) + "/syscall";
    bool handled = false;
    EXPECT_TRUE(program.hold(
        [&] {
          const std::vector<std::string> words = words_of(slurp(call));
          if (words.size() < 6) return false;
          const std::string number = words[0];
          handled |= number == std::to_string(SYS_rt_sigaction) && words[1] == "0x1";  // SIGHUP
          const bool reads = number == std::to_string(SYS_read) ||
                             number == std::to_string(SYS_pread64) ||
                             (number == std::to_string(SYS_mmap) && words[5].size() < 6);
          return handled && reads;
        },
        [&] { program.signal(SIGINT); }))
        << command.front();
    const Result result = program.wait();
    EXPECT_EQ(result.status, 1) << command.front() << result.out << result.err;
    EXPECT_NE(result.err.find("stopped"), std::string::npos) << command.front() << result.err;
  }
  for (const char* out :
       {"t.bin", "q.task", "set", "run/model", "nested", "random", "page.html", "out", "f-X.npy"}) {
    EXPECT_FALSE(fs::exists(path(out))) << out;
  }
  for (const std::string& line : lines_of(expect_done({"help"}).out)) {
    const std::vector<std::string> words = words_of(line);
    if (!line.starts_with("  ") || words.empty() || words.front() == "mixnmatch") continue;
    EXPECT_TRUE(tried.contains(words.front())) << words.front() << " is not tried here";
  }
}

// LibTorch is being loaded: what was asked for is known to be right by then, and no result is
// there.
TEST_F(Kills, NoStoreIsLeftByWhatIsStoppedBeforeItHasResults) {
  const std::string db = path("new.db"), long_data = tokens("long.bin", 4, 32 * 4096 + 1);
  const std::vector<std::vector<std::string>> commands = {
      {"latency", model_, "--length", "16", "--db", db},
      {"eval", model_, "--data", long_data, "--context", "32", "--db", db},
      {"sensitivity", model_, "--data", long_data, "--context", "32", "--db", db}};
  for (const std::vector<std::string>& command : commands) {
    Running program(mixnmatch_argv(command), Running::Start::kTraced);
    const std::string maps = "/proc/" + std::to_string(program.pid()) + "/maps";
    EXPECT_TRUE(program.hold([&] { return slurp(maps).find("libtorch_cpu") != std::string::npos; },
                             [&] { program.signal(SIGINT); }))
        << command.front();
    const Result result = program.wait();
    EXPECT_EQ(result.status, 1) << command.front() << result.out << result.err;
    EXPECT_NE(result.err.find("stopped"), std::string::npos) << command.front() << result.err;
    EXPECT_FALSE(fs::exists(db)) << command.front();
  }
}

TEST_F(Kills, TimeLimitStopsLikeAnInterruptAndReportsWhatThereIs) {
  std::vector<std::string> limited = evolution(db_);
  limited.insert(limited.end(), {"--max-time", "1ms"});
  const Result result = expect_done(limited);
  EXPECT_NE(result.err.find("--resume 1"), std::string::npos) << result.err;
  expect_done({"search", "--db", db_, "--resume", "1", "--threads", "1"});
  const std::string whole = path("whole.db");
  expect_done(evolution(whole));
  // The limited run also confirmed its own front, which the whole search may have left behind.
  const auto searched = [](std::vector<std::string> all) {
    std::erase_if(all, [](const std::string& record) { return !record.starts_with("search "); });
    return all;
  };
  EXPECT_EQ(searched(records(db_)), searched(records(whole)));
}

TEST_F(Kills, ResumedRunsKeepTheirSettings) {
  std::vector<std::string> limited = evolution(db_);
  limited.insert(limited.end(), {"--max-time", "1ms"});
  expect_done(limited);
  expect_refused({"search", "--db", db_, "--resume", "1", "--seed", "4"}, 2, "seed");
  expect_refused({"search", "--db", db_, "--resume", "99"}, 2, "99");
  expect_refused({"search", "--db", db_, "--resume", "1", "--data", confirm_}, 2,
                 "run 1 was scored on search.bin, ");
}

TEST_F(Kills, TwoSearchesWriteOneStoreAtOnce) {
  std::vector<std::string> other = evolution(db_);
  *std::find(other.begin(), other.end(), "3") = "4";
  Running a(mixnmatch_argv(evolution(db_))), b(mixnmatch_argv(other));
  const Result first = a.wait(), second = b.wait();
  EXPECT_EQ(first.status, 0) << first.err;
  EXPECT_EQ(second.status, 0) << second.err;
  const Json runs = expect_done({"runs", "--db", db_, "--json"}).json()["runs"];
  ASSERT_EQ(runs.size(), 4u);
  for (const Json& run : runs) {
    EXPECT_EQ(run["status"], "done");
    if (run["command"] == "confirm") continue;
    EXPECT_EQ(run["records"], 160);
  }
}

TEST_F(Kills, ExportIsNeverSeenHalfWritten) {
  TinyLlama large;
  large.hidden = 512;
  large.heads = large.kv_heads = 8;
  large.full = 8192;
  large.granularities = {1024, 8192};
  large.layers = 2;
  large.dtype = Dtype::kF32;
  const std::string model = large.write(dir_ / "large").string();
  const std::vector<std::string> command = {"export",     model,   "--widths", "8192",
                                            "--no-check", "--out", path("out")};
  const int moments = moments_of(command);
  const std::string expected = slurp(path("out/model.safetensors"));
  fs::remove_all(path("out"));
  int kills = 0;
  for (int i = 1; i <= 10; ++i) {
    const Result result = kill_at(command, moments * i / 10);
    if (result.status == -SIGKILL) ++kills;
    if (!fs::exists(path("out"))) continue;
    EXPECT_EQ(slurp(path("out/model.safetensors")), expected) << "after kill " << i;
    fs::remove_all(path("out"));
  }
  EXPECT_GT(kills, 5);
  expect_done(command);
  EXPECT_EQ(slurp(path("out/model.safetensors")), expected);
  for (const auto& entry : fs::directory_iterator(dir_.path())) {
    EXPECT_EQ(entry.path().filename().string().find(".out"), std::string::npos)
        << "left over: " << entry.path();
  }
}

}  // namespace
}  // namespace mnm::test
