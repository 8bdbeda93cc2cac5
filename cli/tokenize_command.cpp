#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "cli/options.h"
#include "cli/output.h"
#include "cli/output_file.h"
#include "cli/print.h"
#include "dataset/corpus.h"
#include "model/error.h"
#include "model/files.h"
#include "model/fingerprint.h"
#include "report/table.h"

namespace mnm {
namespace {

struct Part {
  std::string name;
  std::filesystem::path path;  // empty: not asked for
  HeldOut held_out;
};

Cell fingerprint_cell(const std::string& bytes) {
  Fingerprint fingerprint;
  fingerprint.add(std::as_bytes(std::span(bytes)));
  return cell(fingerprint.hex());
}

}  // namespace

int tokenize_command(const Arguments& arguments) {
  std::vector<std::string> inputs;
  std::string glob = "*";
  TokenFormat format = TokenFormat::kBytes;
  std::uint64_t seed = 1;
  std::filesystem::path train_path, list_path;
  Part parts[] = {{"search", "", {16384, 0}}, {"confirm", "", {16384, 0}}};
  std::int64_t excerpt = 0;
  bool force = false, dry_run = false, json = false, csv = false;

  OptionTable options(
      "tokenize",
      "Makes byte-level token files from a corpus: the bytes of every file, and a zero byte after "
      "each. Whole files are held out, chosen by a hash of the seed and their path. So the parts "
      "share no file. Empty files, files with a zero byte and copies of earlier files are left "
      "out.");
  options.argument("CORPUS", required(texts_value(inputs, "")), "directories and files to read")
      .section("corpus")
      .option("glob", text_value(glob, "PATTERN"), "take only files with such a name")
      .option("seed", count_value(seed), "seed of the choice of held-out files")
      .option("excerpt", quantity_value(excerpt, "BYTES"),
              "take at most so many bytes of each held-out file, so that a part has more files; "
              "else whole files")
      .section("output")
      .option("train", required(path_value(train_path)), "the file to write the training part to")
      .option("search", path_value(parts[0].path), "the file to write the search part to")
      .option("search-tokens", quantity_value(parts[0].held_out.tokens, "N"),
              "targets of the search part; its file has one token more")
      .option("confirm", path_value(parts[1].path), "the file to write the confirm part to")
      .option("confirm-tokens", quantity_value(parts[1].held_out.tokens, "N"),
              "targets of the confirm part; its file has one token more")
      .option("list", path_value(list_path), "also write a list of which file is in which part")
      .option(
          "token-format", token_format_value(format),
          "format of the files: one byte per token (the default), numbers of 16 or 32 bits without "
          "a header, or llm.c's shard of uint16")
      .option("force", flag_value(force), "replace files that exist")
      .option("dry-run", flag_value(dry_run), "write nothing");
  add_output_options(options, json, csv);
  if (!options.parse(arguments)) return 0;
  const OutputFormat output = output_format(json, csv);

  std::vector<HeldOut> requests;
  std::vector<const Part*> requested;
  for (Part& part : parts) {
    if (part.path.empty()) continue;
    if (part.held_out.tokens < 1) fail_usage("--{}-tokens must be at least 1", part.name);
    part.held_out.excerpt = excerpt;
    requests.push_back(part.held_out);
    requested.push_back(&part);
  }
  const std::filesystem::path outputs[] = {train_path, parts[0].path, parts[1].path, list_path};
  require_distinct(outputs);
  for (const auto& path : outputs) {
    if (path.empty() || dry_run) continue;
    for (const std::string& input : inputs) require_apart(path, input);
    require_writable(path, force);
  }

  const std::vector<std::filesystem::path> roots(inputs.begin(), inputs.end());
  const std::vector<CorpusFile> files = list_corpus(roots, glob);
  const SplitCorpus split = split_corpus(files, requests, seed);
  // What was written into the corpus before is no part of it where it holds zero bytes.
  for (const auto& path : outputs) {
    if (dry_run || !std::filesystem::exists(path)) continue;
    for (const CorpusFile& file : files) {
      if (std::ranges::find(split.skipped, file.name) == split.skipped.end()) {
        require_apart(path, file.path);
      }
    }
  }

  Table table{{{"part", "part", false},
               {"files", "files"},
               {"tokens", "tokens"},
               {"path", "written to", false},
               {"fingerprint", "fingerprint", false}},
              {}};
  // Parts of different corpora overlap: the new ones take the places of old ones once all are
  // whole.
  std::vector<AtomicFile> written;
  const auto keep = [&](const std::filesystem::path& path, const std::string& bytes) {
    if (dry_run) return;
    require_space(bytes.size(), path);
    OutputFile out(written.emplace_back(path).path());
    out.write(bytes);
    out.close();
  };
  std::string list;
  const auto finish = [&](const std::string& name, const CorpusPart& part,
                          const std::filesystem::path& path) {
    const std::string bytes = token_file(part.tokens, format);
    keep(path, bytes);
    table.rows.push_back({cell(name), cell(static_cast<std::int64_t>(part.names.size())),
                          cell(static_cast<std::int64_t>(part.tokens.size())), cell(path.string()),
                          fingerprint_cell(bytes)});
    for (const std::string& file : part.names) list += fmt::format("{}\t{}\n", name, file);
  };
  finish("train", split.train, train_path);
  for (std::size_t i = 0; i < requested.size(); ++i) {
    finish(requested[i]->name, split.held_out[i], requested[i]->path);
  }
  for (const std::string& file : split.skipped) list += fmt::format("skipped\t{}\n", file);
  if (!list_path.empty()) keep(list_path, list);
  for (AtomicFile& file : written) file.commit();

  if (!split.skipped.empty()) {
    note("{} of {} files are left out: empty, with a zero byte, or a copy\n", split.skipped.size(),
         files.size());
  }
  if (dry_run) note("dry run: nothing was written\n");
  print_table(table, output);
  return 0;
}

}  // namespace mnm
