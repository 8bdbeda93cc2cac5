#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <optional>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "base/output_place.h"
#include "base/progress.h"
#include "cli/example_readers.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/output_file.h"
#include "cli/print.h"
#include "dataset/corpus.h"
#include "model/fingerprint.h"
#include "report/table.h"
#include "text/end_tokens.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace mnm {
namespace {

struct Part {
  std::string name;
  std::filesystem::path path;  // empty: not asked for
  HeldOut held_out;
};

struct Request {
  std::vector<std::string> inputs;
  std::string glob = "*";
  std::filesystem::path model;  // empty: tokens are bytes
  TokenFormat format = TokenFormat::kRecognised;
  std::uint64_t seed = 1;
  std::filesystem::path train_path, list_path;
  Part parts[2] = {{"search", "", {16384, 0}}, {"confirm", "", {16384, 0}}};
  std::int64_t excerpt = 0;
  bool force = false, dry_run = false, json = false, csv = false;

  std::vector<std::filesystem::path> outputs() const {
    return {train_path, parts[0].path, parts[1].path, list_path};
  }
};

Cell fingerprint_cell(const std::string& bytes) {
  Fingerprint fingerprint;
  fingerprint.add(std::as_bytes(std::span(bytes)));
  return cell(fingerprint.hex());
}

OptionTable option_table(Request& request) {
  auto& [inputs, glob, model, format, seed, train_path, list_path, parts, excerpt, force, dry_run,
         json, csv] = request;
  OptionTable options(
      "tokenize",
      "Makes token files from a corpus of texts: with --model the tokens of its tokenizer, and the "
      "end-of-text token after each file; else the bytes of every file, and a zero byte after "
      "each. Whole files are held out, chosen by a hash of the seed and their path. So the parts "
      "share no file. Empty files, files with a zero byte, copies of earlier files and, with "
      "--model, files that are not UTF-8 are left out; links below a directory are not "
      "followed.");
  options.argument("CORPUS", required(texts_value(inputs, "")), "directories and files to read")
      .section("corpus")
      .option("model", path_value(model),
              "checkpoint whose tokenizer.json makes the tokens, and whose config names the token "
              "that ends a text")
      .option("glob", text_value(glob, "PATTERN"), "take only files with such a name")
      .option("seed", count_value(seed), "seed of the choice of held-out files")
      .option("excerpt", quantity_value(excerpt, "BYTES"),
              "take at most so many bytes of each held-out file, so that a part has more files; "
              "else whole files")
      .section("output")
      .option("train", path_value(train_path),
              "the file to write the training part to: all that is not held out")
      .option("search", path_value(parts[0].path), "the file to write the search part to")
      .option("search-tokens", quantity_value(parts[0].held_out.tokens, "N"),
              "targets of the search part; its file has one token more")
      .option("confirm", path_value(parts[1].path), "the file to write the confirm part to")
      .option("confirm-tokens", quantity_value(parts[1].held_out.tokens, "N"),
              "targets of the confirm part; its file has one token more")
      .option("list", path_value(list_path),
              "also write a list of which file is in which part: lines of PART, a tab and NAME, in "
              "which a control character stands as \\x0a and a backslash as two")
      .option(
          "token-format", token_format_value(format),
          "format of the files: one byte per token (the default without --model), numbers of 16 or "
          "32 bits without a header, or llm.c's shard (the default with --model)")
      .option("force", flag_value(force), "replace earlier ones of such files")
      .option("dry-run", flag_value(dry_run), "write nothing");
  add_output_options(options, json, csv);
  return options;
}

// The held-out parts that were asked for. UsageError for one that would be empty.
std::vector<Part> requested_parts(const Request& request) {
  std::vector<Part> parts;
  for (Part part : request.parts) {
    if (part.path.empty()) continue;
    if (part.held_out.tokens < 1) fail_usage("--{}-tokens must be at least 1", part.name);
    part.held_out.excerpt = request.excerpt;
    parts.push_back(std::move(part));
  }
  return parts;
}

void require_outputs(const Request& request) {
  require_distinct(request.outputs());
  if (request.dry_run) return;
  if (request.train_path.empty() && request.parts[0].path.empty() &&
      request.parts[1].path.empty()) {
    fail_usage("tokenize: name what to write: --train, --search or --confirm");
  }
  for (const auto& path : request.outputs()) {
    if (path.empty()) continue;
    for (const std::string& input : request.inputs) require_apart(path, input);
    require_outside(path, request.model);
    require_place_of_file(path);
  }
}

// What --force may replace. A text of the corpus is said to be one.
void require_replaceable(const Request& request, const std::vector<CorpusFile>& files) {
  if (request.dry_run) return;
  const OutputKind tokens =
      token_file_kind(request.model.empty() ? 256 : stated_vocabulary(request.model));
  for (const auto& path : request.outputs()) {
    if (path.empty()) continue;
    const OutputKind kind = path == request.list_path ? part_list_kind() : tokens;
    if (!is_replaceable_file(path, kind)) {
      for (const CorpusFile& file : files) require_apart(path, file.path);
    }
    require_writable(path, request.force, kind);
  }
}

// Whether it may be a token file: a text has no zero byte.
bool has_zero_byte(const std::filesystem::path& path) {
  const MappedFile file(path);
  return std::ranges::find(file.bytes(), std::byte{0}) != file.bytes().end();
}

// What was written into the corpus before is no part of it where it holds zero bytes. What is left
// out for another reason, such as a copy, is a text of the corpus all the same.
void require_outside_corpus(const Request& request, const std::vector<CorpusFile>& files,
                            const SplitCorpus& split) {
  for (const auto& path : request.outputs()) {
    if (request.dry_run || !std::filesystem::exists(path)) continue;
    for (const CorpusFile& file : files) {
      std::error_code error;
      if (!std::filesystem::equivalent(path, file.path, error)) continue;
      const bool skipped = std::ranges::find(split.skipped, file.name) != split.skipped.end();
      if (!skipped || !has_zero_byte(file.path)) require_apart(path, file.path);
    }
  }
}

DocumentTokens documents_of_model(const std::filesystem::path& directory) {
  const std::filesystem::path file = directory / "config.json";
  const nlohmann::json config =
      std::filesystem::exists(file) ? read_json(file) : nlohmann::json::object();
  const std::int64_t vocab_size = stated_vocabulary(directory);
  const auto tokenizer = tokenizer_of(directory, vocab_size);
  const auto encode = [=](const std::string& text) -> std::optional<std::vector<std::int64_t>> {
    const bool may_be_any = tokenizer->json().is_of_bytes();
    if (!may_be_any && valid_utf8(text) != text.size()) return std::nullopt;
    return tokenizer->encode(text);
  };
  const std::vector<std::int64_t> ends = end_tokens(directory, config);
  const std::int64_t end = ends.empty() ? -1 : ends.front();
  if (end < 0) {
    note("{} names no token that ends a text, so nothing separates the files\n",
         directory.string());
  }
  try {
    return documents_of(encode, end, vocab_size);
  } catch (const Error& error) {
    fail("cannot tokenize with the tokenizer of {}: {}", directory.string(), error.what());
  }
}

// A file's name as a field of the list: it ends neither the field nor the line.
std::string field(const std::string& name) {
  std::string out;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\\') {
      out += "\\\\";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

// Parts of different corpora overlap: the new ones take the places of old ones once all are whole.
class PartWriter {
 public:
  PartWriter(const Request& request, std::size_t width)
      : request_(request), width_(width), format_(request.format) {
    if (format_ == TokenFormat::kRecognised && !request.model.empty()) {
      format_ = TokenFormat::kLlmC;
    }
  }

  void add(const std::string& name, const CorpusPart& part, const std::filesystem::path& path) {
    const std::string bytes = token_file(part.tokens, width_, format_);
    keep(path, bytes);
    table_.rows.push_back({cell(name), cell(static_cast<std::int64_t>(part.names.size())),
                           cell(static_cast<std::int64_t>(part.tokens.size() / width_)),
                           cell(path.string()), fingerprint_cell(bytes)});
    for (const std::string& file : part.names) list_ += fmt::format("{}\t{}\n", name, field(file));
  }

  // The list, and all files under their names.
  const Table& finish(const std::vector<std::string>& skipped) {
    for (const std::string& file : skipped) list_ += fmt::format("skipped\t{}\n", field(file));
    if (!request_.list_path.empty()) keep(request_.list_path, list_);
    if (guard_.interrupted()) throw Stopped();
    for (AtomicFile& file : written_) file.commit();
    return table_;
  }

 private:
  void keep(const std::filesystem::path& path, const std::string& bytes) {
    if (request_.dry_run) return;
    if (guard_.interrupted()) throw Stopped();
    require_space(bytes.size(), path);
    OutputFile out(written_.emplace_back(path).path());
    out.write(bytes);
    out.close();
  }

  const Request& request_;
  const std::size_t width_;
  TokenFormat format_;
  Table table_{{{"part", "part", false},
                {"files", "files"},
                {"tokens", "tokens"},
                {"path", "written to", false},
                {"fingerprint", "fingerprint", false}},
               {}};
  const InterruptGuard guard_;
  std::vector<AtomicFile> written_;
  std::string list_;
};

}  // namespace

int tokenize_command(const Arguments& arguments) {
  Request request;
  OptionTable options = option_table(request);
  if (!options.parse(arguments)) return 0;
  const OutputFormat output = output_format(request.json, request.csv);
  const std::vector<Part> parts = requested_parts(request);
  require_outputs(request);

  const std::vector<std::filesystem::path> roots(request.inputs.begin(), request.inputs.end());
  const std::vector<CorpusFile> files = list_corpus(roots, request.glob);
  require_replaceable(request, files);
  std::vector<HeldOut> held_out;
  for (const Part& part : parts) held_out.push_back(part.held_out);
  const DocumentTokens documents =
      request.model.empty() ? byte_documents() : documents_of_model(request.model);
  const SplitCorpus split = split_corpus(files, held_out, request.seed, documents);
  require_outside_corpus(request, files, split);

  PartWriter writer(request, documents.width);
  if (!request.train_path.empty()) writer.add("train", split.train, request.train_path);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    writer.add(parts[i].name, split.held_out[i], parts[i].path);
  }
  const Table& table = writer.finish(split.skipped);
  if (!split.skipped.empty()) {
    note("{} of {} files are left out: empty, with a zero byte, {}or a copy\n",
         split.skipped.size(), files.size(), request.model.empty() ? "" : "not UTF-8, ");
  }
  if (request.dry_run) note("dry run: nothing was written\n");
  print_table(table, output);
  return 0;
}

}  // namespace mnm
