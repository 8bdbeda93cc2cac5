// Where commands may write: nothing that is read, that is a store's, or that somebody else made is
// replaced, and what cannot be written leaves nothing behind.
#include <sys/stat.h>

#include <set>
#include <sstream>

#include "tests/end_to_end/workshop.h"

namespace mnm::test {
namespace {

namespace fs = std::filesystem;

TEST_F(Workshop, NothingIsWrittenOverWhatIsRead) {
  expect_done(search({"--strategy", "uniform"}, db_));
  fs::create_directory_symlink(model_, path("link"));
  const std::string before = slurp(path("model/model.safetensors"));
  for (const std::string& out : {model_, model_ + "/", path("link"), path("model/../model")}) {
    expect_refused({"export", model_, "--widths", "8", "--no-check", "--force", "--out", out}, 2,
                   "replace");
  }
  for (const std::string& config : {model_, model_ + "/config.json"}) {
    expect_refused({"random", config, "--force", "--out", model_}, 2, "replace");
  }
  fs::create_directory(path("run"));
  fs::copy(model_, path("run/model"));
  expect_refused({"train", path("run/model/config.json"), "--tokens", search_, "--force", "--out",
                  path("run")},
                 2, "replace");
  EXPECT_EQ(slurp(path("run/model/model.safetensors")), before);
  EXPECT_EQ(slurp(path("model/model.safetensors")), before);

  fs::create_directory(path("stores"));
  fs::copy(db_, path("stores/results.db"));
  const std::string store = slurp(path("stores/results.db"));
  expect_refused({"export", model_, "--widths", "8", "--no-check", "--force", "--out",
                  path("stores"), "--db", path("stores/results.db")},
                 2, "results.db");
  expect_refused(
      {"pareto", "--db", path("stores/results.db"), "--force", "--svg", path("stores/results.db")},
      2, "replace");
  EXPECT_EQ(slurp(path("stores/results.db")), store);

  fs::create_directory(path("corpus"));
  spew(path("corpus/a.txt"), "one");
  spew(path("corpus/b.txt"), "another");
  expect_refused({"tokenize", path("corpus"), "--force", "--train", path("corpus/a.txt")}, 2,
                 "replace");
  EXPECT_EQ(slurp(path("corpus/a.txt")), "one");
  // A token file that lies there is no part of the corpus, since it holds zero bytes.
  for (int round = 0; round < 2; ++round) {
    expect_done({"tokenize", path("corpus"), "--force", "--train", path("corpus/all.bin")});
  }
}

// A file in a directory that is read belongs to what is read.
TEST_F(Workshop, NothingIsWrittenIntoACheckpointThatIsRead) {
  spew(path("q.jsonl"), "{\"text\": \"abc\"}\n");
  fs::create_directory_symlink(model_, path("link"));
  // As a download cache has it: the names lead elsewhere.
  fs::copy(model_, path("linked"));
  fs::rename(path("linked/config.json"), path("blob"));
  fs::create_symlink(path("blob"), path("linked/config.json"));
  const std::string config = slurp(path("model/config.json")),
                    weights = slurp(path("model/model.safetensors"));
  const std::pair<std::string, std::string> cases[] = {
      {model_, path("model/config.json")}, {model_, path("model/model.safetensors")},
      {model_, path("link/config.json")},  {model_, path("model/tokenizer.json")},
      {model_, path("model/../model/x")},  {path("linked"), path("blob")},
      {path("link"), path("model/x")}};
  for (const auto& [model, out] : cases) {
    const std::vector<std::string> commands[] = {
        {"sensitivity", model, "--data", search_, "--context", "32", "--svg", out},
        {"tasks", path("q.jsonl"), "--model", model, "--out", out},
        {"tasks", path("q.jsonl"), "--tokenizer", model, "--out", out},
        {"tokenize", search_, "--model", model, "--train", out},
        {"tokenize", search_, "--model", model, "--train", path("t.bin"), "--list", out}};
    const bool there = fs::exists(out);
    for (std::vector<std::string> command : commands) {
      command.push_back("--force");
      expect_refused(command, 2, there ? "that would replace" : "that would change");
      expect_refused(command, 2, "which this command reads");
      EXPECT_EQ(fs::exists(out), there);
    }
  }
  expect_refused({"features", model_, "--data", search_, "--out", path("model/x")}, 2,
                 "that would change");
  EXPECT_EQ(slurp(path("model/config.json")), config);
  EXPECT_EQ(slurp(path("blob")), config);
  EXPECT_EQ(slurp(path("model/model.safetensors")), weights);

  for (const char* file : {"g-X.npy", "g-y.npy", "q-X.npy", "q-y.npy"}) {
    spew(path(file), "vectors");
    expect_refused(
        {"retrieve", path("q"), "--database", path("g"), "--force", "--shortlist", path(file)}, 2,
        "replace");
    EXPECT_EQ(slurp(path(file)), "vectors");
  }
}

// A copy and an empty file are left out of the parts, and are texts of the corpus all the same.
TEST_F(Workshop, NoTextOfACorpusIsWrittenOver) {
  fs::create_directory(path("corpus"));
  const std::pair<const char*, const char*> texts[] = {
      {"a.txt", "one"}, {"b.txt", "another"}, {"copy.txt", "one"}, {"empty.txt", ""}};
  for (const auto& [name, text] : texts) spew(path("corpus/") + name, text);
  fs::create_hard_link(path("corpus/copy.txt"), path("same"));
  for (const char* out : {"corpus/a.txt", "corpus/copy.txt", "corpus/empty.txt", "same"}) {
    expect_refused({"tokenize", path("corpus"), "--force", "--train", path(out)}, 2, "replace");
    expect_refused(
        {"tokenize", path("corpus"), "--force", "--train", path("t.bin"), "--list", path(out)}, 2,
        "replace");
  }
  for (const auto& [name, text] : texts) EXPECT_EQ(slurp(path("corpus/") + name), text);
  EXPECT_FALSE(fs::exists(path("t.bin")));
}

// Every option that writes one file: what lies there stays unless --force says otherwise.
TEST_F(Workshop, NoFileIsReplacedUnasked) {
  const std::string taken = path("taken-X.npy");
  const std::vector<std::string> tokenize = {"tokenize", search_},
                                 retrieve = {"retrieve", path("q"), "--database", path("g")},
                                 pareto = {"pareto", "--db", db_};
  const std::pair<std::string, std::vector<std::string>> cases[] = {
      {"--train", tokenize},
      {"--search", tokenize},
      {"--confirm", tokenize},
      {"--list", {"tokenize", search_, "--train", path("t.bin")}},
      {"--out", {"tasks", path("q.jsonl"), "--model", model_}},
      {"--out", {"features", model_, "--data", search_}},
      {"--shortlist", retrieve},
      {"--svg", {"sensitivity", model_, "--data", search_}},
      {"--svg", pareto},
      {"--npy", pareto},
      {"--svg", {"cascade", "4x4", "32x4", "--db", db_}},
      {"--out", {"report", "--db", db_}}};
  std::set<std::string> tried;
  spew(taken, "mine");
  for (const auto& [option, command] : cases) {
    tried.insert(command.front() + " " + option);
    std::vector<std::string> words = command;
    words.insert(words.end(), {option, taken});
    expect_refused(words, 1, "taken-X.npy is there already");
    EXPECT_EQ(slurp(taken), "mine") << command.front();
  }
  fs::rename(taken, path("taken-y.npy"));
  expect_refused({"features", model_, "--data", search_, "--out", path("taken")}, 1,
                 "taken-y.npy is there already");

  // What the program itself says that it writes.
  std::set<std::string> writing = {"features --out"};
  std::istringstream overview(expect_done({"help"}).out);
  for (std::string line; std::getline(overview, line);) {
    if (!line.starts_with("  ")) continue;
    const std::string name = line.substr(2, line.find(' ', 2) - 2);
    if (name == "mixnmatch") continue;
    std::istringstream options(expect_done({"help", name}).out);
    for (std::string option; std::getline(options, option);) {
      const std::size_t end = option.find(" FILE ");
      if (!option.starts_with("  --") || end == std::string::npos) continue;
      const std::string help = option.substr(end);
      const bool writes = help.find("write") != help.npos || help.find("draw") != help.npos;
      if (writes) writing.insert(name + " " + option.substr(2, end - 2));
    }
  }
  EXPECT_EQ(tried, writing);
}

// --force replaces what this program wrote, and nothing else.
TEST_F(Workshop, AForeignFolderIsNotReplaced) {
  for (const char* file : {"thesis.tex", "results.db", "optimizer.pt"}) {
    fs::create_directory(path("mine"));
    spew(path("mine/") + file, "three years");
    expect_refused(
        {"export", model_, "--widths", "8", "--no-check", "--force", "--out", path("mine")}, 1,
        file);
    expect_refused({"random", model_ + "/config.json", "--force", "--out", path("mine")}, 1, file);
    EXPECT_EQ(slurp(path("mine/") + file), "three years");
    fs::remove_all(path("mine"));
  }
  for (const auto& [format, file] :
       {std::pair("huggingface", "model.safetensors"), std::pair("gguf", "model.gguf"),
        std::pair("onnx", "scorer.onnx")}) {
    for (const char* checked : {"--no-check", "--threads=1"}) {
      expect_done({"export", model_, "--widths", "8", "--format", format, checked, "--force",
                   "--out", path("out")});
      EXPECT_TRUE(fs::exists(path("out/") + file));
    }
  }
  // What somebody trained further has the names and the keys of an export, and is no more ours.
  expect_done({"export", model_, "--widths", "8", "--no-check", "--force", "--out", path("out")});
  nlohmann::json tuned = nlohmann::json::parse(slurp(path("out/config.json")));
  ASSERT_TRUE(tuned.contains("mixnmatch"));
  tuned["transformers_version"] = "5.23.0";
  spew(path("out/config.json"), tuned.dump(2));
  for (const char* command : {"export", "random"}) {
    std::vector<std::string> forced = {command, model_, "--force", "--out", path("out")};
    if (forced[0] == "export") forced.insert(forced.end(), {"--widths", "8", "--no-check"});
    if (forced[0] == "random") forced[1] += "/config.json";
    expect_refused(forced, 1, "its 'config.json' is not as this program wrote it; remove it");
  }
  EXPECT_EQ(slurp(path("out/config.json")), tuned.dump(2));
  // A link is followed, and what is empty is used without being asked.
  fs::create_directory(path("disk"));
  fs::create_directory_symlink(path("disk"), path("results"));
  expect_done({"random", model_ + "/config.json", "--out", path("results")});
  expect_done({"random", model_ + "/config.json", "--force", "--out", path("results")});
  EXPECT_TRUE(fs::is_symlink(path("results")));
  EXPECT_TRUE(fs::exists(path("disk/config.json")));
}

class OutputsBesideStores : public Workshop {
 protected:
  // Every command that writes a directory refuses to write it there.
  void expect_no_directory_at(const std::string& out) const {
    const std::string config = model_ + "/config.json";
    expect_refused({"export", model_, "--widths", "8", "--no-check", "--force", "--out", out}, 1,
                   "store");
    for (const char* run : {"--force", "--dry-run"}) {
      expect_refused({"random", config, run, "--out", out}, 1, "store");
    }
    expect_refused({"train", config, "--tokens", search_, "--out", out, "--force"}, 1, "store");
    expect_refused({"nest", model_, "--score", "magnitude", "--out", out, "--force"}, 1, "store");
    expect_refused({"images", dir_.path().string(), "--out", out, "--force"}, 1, "store");
  }
};

// Nothing is written under the names of a store or of its journals, there or not.
TEST_F(OutputsBesideStores, NoOutputIsAFileOfAStore) {
  expect_done(search({"--strategy", "uniform"}, db_));
  const std::string before = slurp(db_);
  fs::create_symlink(db_, path("link.db"));
  for (const std::string& store : {db_, path("link.db")}) {
    for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
      const std::string out = store + suffix;
      expect_refused({"pareto", "--db", db_, "--svg", out, "--force"}, suffix[0] == 0 ? 2 : 1,
                     suffix[0] == 0 ? "replace" : "the store");
      for (const char* file : {"--train", "--search", "--confirm", "--list"}) {
        std::vector<std::string> tokenize = {"tokenize", search_, file, out, "--force"};
        if (std::string(file) == "--list") {
          tokenize.insert(tokenize.end(), {"--train", path("t.bin")});
        }
        expect_refused(tokenize, 1, "store");
      }
      expect_refused({"tasks", search_, "--model", model_, "--out", out, "--force"}, 1, "store");
      expect_refused({"sensitivity", model_, "--data", search_, "--svg", out, "--force"}, 1,
                     "store");
      expect_refused({"retrieve", "q", "--database", "d", "--shortlist", out}, 1, "store");
      expect_no_directory_at(out);
      if (suffix[0] == 0) continue;
      expect_refused({"pareto", "--db", db_, "--npy", out, "--force"}, 1, "the store");
      expect_refused({"report", "--db", db_, "--out", out, "--force"}, 1, "the store");
      expect_refused({"cascade", "1", "2", "--db", db_, "--svg", out, "--force"}, 1, "the store");
      expect_refused({"eval", model_, "--data", search_, "--db", out}, 1, "the store");
      // Also as a directory above the one that is asked for.
      expect_no_directory_at(out + "/");
      expect_no_directory_at(out + "/runs/1");
      EXPECT_FALSE(fs::is_directory(out));
    }
  }
  EXPECT_EQ(slurp(db_), before);
}

// Of single files, too, --force replaces what the command writes, and nothing else.
TEST_F(Workshop, AForeignFileIsNotReplaced) {
  expect_done(search({"--strategy", "uniform"}, db_));
  fs::create_directory(path("corpus"));
  spew(path("corpus/a.txt"), "one");
  spew(path("corpus/b.txt"), "another");
  const std::string foreign[] = {"\\documentclass{thesis}\n",
                                 "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1\"/>\n",
                                 "<!doctype html>\n<title>mine</title>\n",
                                 "\x93NUMPY\x01",
                                 "a,b\n1,2\n",
                                 std::string(70'000, '7'),
                                 std::string("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16)};
  const std::vector<std::vector<std::string>> commands = {
      {"pareto", "--db", db_, "--data", "search", "--svg"},
      {"pareto", "--db", db_, "--data", "search", "--npy"},
      {"report", "--db", db_, "--out"},
      {"tokenize", path("corpus"), "--train"},
      {"tokenize", path("corpus"), "--token-format", "u16", "--train"},
      {"tokenize", path("corpus"), "--token-format", "llm.c", "--train"},
      {"tokenize", path("corpus"), "--train", path("all.bin"), "--list"},
      {"tasks", path("corpus/a.txt"), "--model", model_, "--out"},
      {"cascade", "1", "2", "--db", db_, "--svg"},
      {"sensitivity", model_, "--data", search_, "--svg"}};
  const std::string out = path("mine");
  bool runs = true;
  for (const std::vector<std::string>& command : commands) {
    std::vector<std::string> forced = command;
    forced.insert(forced.end(), {out, "--force"});
    for (const std::string& content : foreign) {
      spew(out, content);
      expect_refused(forced, 1, "cannot replace " + out + ": --force replaces only ");
      EXPECT_EQ(slurp(out), content);
    }
    fs::remove(out);
    runs &= command.front() != "tasks";  // it and those after it need more than this store
    if (!runs) continue;
    spew(out, "");
    expect_done(forced);
    EXPECT_GT(fs::file_size(out), 0u);
    expect_done(forced);
  }
}

TEST_F(Workshop, TrainingReplacesNoModelUnasked) {
  const std::vector<std::string> train = {"train",     model_ + "/config.json",
                                          "--tokens",  search_,
                                          "--out",     path("run"),
                                          "--steps",   "1",
                                          "--batch",   "1",
                                          "--context", "8",
                                          "--threads", "1"};
  expect_done(train);
  const std::string before = slurp(path("run/model/model.safetensors"));
  spew(path("run/model/mine.txt"), "kept");
  expect_refused(train, 1, "--force");
  EXPECT_EQ(slurp(path("run/model/mine.txt")), "kept");
  std::vector<std::string> forced = train;
  forced.push_back("--force");
  expect_refused(forced, 1, "'mine.txt'");
  EXPECT_EQ(slurp(path("run/model/mine.txt")), "kept");
  fs::remove(path("run/model/mine.txt"));
  expect_done(forced);
  EXPECT_EQ(slurp(path("run/model/model.safetensors")), before);
}

TEST_F(Workshop, TwoOutputsOfOneName) {
  expect_done(search({"--strategy", "uniform"}, db_));
  const std::string x = path("x"), same = path("./x");
  expect_refused({"pareto", "--db", db_, "--data", "search", "--svg", x, "--npy", same}, 2, "two");
  expect_refused({"tokenize", search_, confirm_, "--train", x, "--search", same}, 2, "two");
  EXPECT_FALSE(fs::exists(x));
}

TEST_F(Workshop, OutputsThatCannotBeWritten) {
  expect_done(search({"--strategy", "uniform"}, db_));
  expect_refused({"pareto", "--db", db_, "--svg", path("no/front.svg")}, 1, "no");
  spew(path("taken"), "a file");
  expect_refused({"export", model_, "--widths", "8", "--out", path("taken")}, 1, "taken");
  expect_refused({"export", model_, "--widths", "8", "--out", path("taken"), "--force"}, 1,
                 "taken");
  EXPECT_EQ(slurp(path("taken")), "a file");
  expect_refused({"export", model_, "--widths", "8", "--out", path("no/such/out")}, 1, "no");
  ASSERT_EQ(mkfifo(path("pipe").c_str(), 0600), 0);
  fs::create_symlink("pipe", path("to_pipe"));
  for (const char* name : {"pipe", "to_pipe"}) {
    expect_refused({"pareto", "--db", db_, "--svg", path(name), "--force"}, 1, "pipe");
    expect_refused({"tokenize", search_, "--train", path(name), "--force"}, 1, "pipe");
    EXPECT_TRUE(fs::is_fifo(path(name)));
  }

  const Running full(
      {"/bin/sh", "-c", mixnmatch_argv({})[0] + " runs --db " + db_ + " > /dev/full"});
  Result result = const_cast<Running&>(full).wait();
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("standard output"), std::string::npos) << result.err;
}

// As on a full disk, but for one file: whatever is under way ends with a sentence.
TEST_F(Workshop, FilesThatMayNotGrow) {
  const auto limited = [&](const std::string& kib, std::vector<std::string> arguments) {
    std::vector<std::string> argv = {"/bin/bash", "-c", "ulimit -f " + kib + "; exec \"$@\"", "sh"};
    for (const std::string& word : mixnmatch_argv(std::move(arguments))) argv.push_back(word);
    return Running(argv).wait();
  };
  expect_done(search({"--strategy", "uniform"}, db_));
  const std::string before = expect_done({"pareto", "--db", db_, "--all", "--json"}).out;
  // But for what SQLite keeps beside a store that it could not tidy up.
  const auto entries = [&] {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(dir_.path())) {
      const std::string name = entry.path().filename().string();
      if (!name.ends_with("-wal") && !name.ends_with("-shm")) names.insert(name);
    }
    return names;
  };
  fs::create_directory(path("corpus"));
  for (const char* name : {"a", "b", "c"}) spew(path("corpus/") + name, std::string(600, *name));
  spew(path("t.bin"), "of another corpus");
  fs::create_directory(path("run"));
  const std::set<std::string> at_first = entries();
  const std::vector<std::string> commands[] = {
      {"tokenize", path("corpus"), "--force", "--train", path("t.bin"), "--search", path("s.bin"),
       "--search-tokens", "1100"},  // the first file may be as long as it is, the second not
      {"train", model_ + "/config.json", "--tokens", search_, "--out", path("run"), "--steps", "1",
       "--batch", "1", "--context", "8", "--threads", "1"},
      {"export", model_, "--widths", "32", "--no-check", "--out", path("out")},
      {"pareto", "--db", db_, "--data", "search", "--svg", path("front.svg")},
      search({"--strategy", "grid", "--max-evaluations", "256"}, db_),
      search({"--strategy", "uniform"}, path("new.db"))};
  for (const auto& command : commands) {
    const Result result = limited("1", command);
    EXPECT_EQ(result.status, 1) << command.front() << ": " << result.err;
    // Standard error is a file here, and may not grow past 1 KiB either.
    EXPECT_TRUE(result.err.find("mixnmatch: ") != std::string::npos || result.err.size() == 1024)
        << result.err;
    fs::remove(path("new.db"));
    EXPECT_EQ(entries(), at_first) << command.front();
  }
  EXPECT_EQ(slurp(path("t.bin")), "of another corpus") << "parts of two corpora may overlap";
  EXPECT_TRUE(fs::is_empty(path("run")));
  // The store lost nothing, and takes the whole search once it may grow.
  EXPECT_EQ(expect_done({"pareto", "--db", db_, "--all", "--json"}).out, before);
  expect_done(search({"--strategy", "grid", "--max-evaluations", "256"}, db_));
}

}  // namespace
}  // namespace mnm::test
