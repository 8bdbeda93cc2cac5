// Malformed safetensors files, one case per malformation.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace mnm::test {

struct MalformedCase {
  std::string name;
  std::string bytes;   // of the whole file
  std::string phrase;  // what its error must say
};

// A file of this header and `data` zero bytes, with the length prefix that belongs to it.
inline std::string with_header(const std::string& header, std::size_t data) {
  const std::uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data, '\0');
}

// Every case differs from a sound file in one thing. `a` F32 [2] and `b` F32 [1] fill 12 bytes.
inline std::vector<MalformedCase> malformed_safetensors() {
  const auto entry = [](const std::string& dtype, const std::string& shape,
                        const std::string& offsets) {
    return R"({"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
  };
  const std::string b = R"("b":)" + entry(R"("F32")", "[1]", "[8,12]");
  const auto one = [&](const std::string& a) {
    return with_header(R"({"a":)" + a + "," + b + "}", 12);
  };
  const std::string f32 = R"("F32")";
  const std::string a = entry(f32, "[2]", "[0,8]");
  const auto length = [](std::uint64_t n) {
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &n, 8);
    return bytes + R"({"x":1})";
  };
  const std::string deep(100, '[');

  return {
      {"empty file", "", "has only 0 bytes"},
      {"shorter than the length", "1234567", "has only 7 bytes"},
      {"header past the end", length(1000), "claims 1000 bytes"},
      {"header past the end by one", length(8), "claims 8 bytes"},
      {"header past 100 MB", length(100'000'001), "more than the 100000000"},
      {"header length 2^64 - 1", length(~std::uint64_t{0}), "more than the 100000000"},
      {"header length 2^64 - 8", length(~std::uint64_t{0} - 7), "more than the 100000000"},
      {"no header", with_header("", 0), "does not start with"},
      {"header is an array", with_header("[]", 0), "does not start with"},
      {"header is spaces", with_header("        ", 0), "does not start with"},
      {"JSON cut short", with_header(R"({"a":{"dtype":"F32")", 12), "no JSON"},
      {"text after the JSON", with_header("{\"a\":" + a + "," + b + "} x", 12), "no JSON"},
      {"zeros after the JSON", with_header("{}" + std::string(6, '\0'), 0), "no JSON"},
      {"invalid UTF-8", with_header("{\"\xff\":1}", 0), "no JSON"},
      {"number past every double", one(entry(f32, "[2]", "[0,1e999]")), "no JSON"},
      {"duplicate tensor", with_header("{\"a\":" + a + "," + b + ",\"a\":" + a + "}", 12), "twice"},
      {"duplicate key in an entry",
       one(R"({"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]})"), "twice"},
      {"duplicate metadata", with_header(R"({"__metadata__":{"k":"1","k":"2"}})", 0), "twice"},
      {"deep nesting", with_header("{\"a\":" + deep, 0), "deeper than 64"},
      {"metadata no object", with_header(R"({"__metadata__":[]})", 0), "is no object"},
      {"metadata number", with_header(R"({"__metadata__":{"k":1}})", 0), "is no string"},
      {"metadata nested", with_header(R"({"__metadata__":{"k":{"l":"m"}}})", 0), "is no string"},
      {"entry a number", one("1"), "entry of tensor 'a' is no object"},
      {"entry an array", one("[]"), "entry of tensor 'a' is no object"},
      {"no dtype", one(R"({"shape":[2],"data_offsets":[0,8]})"), "has no dtype"},
      {"no shape", one(R"({"dtype":"F32","data_offsets":[0,8]})"), "has no shape"},
      {"no offsets", one(R"({"dtype":"F32","shape":[2]})"), "has no data_offsets"},
      {"dtype a number", one(entry("7", "[2]", "[0,8]")), "dtype of tensor 'a' is no string"},
      {"dtype unknown", one(entry(R"("Q7")", "[2]", "[0,8]")), "\"Q7\""},
      {"dtype of nobody", one(entry(R"("I65")", "[1]", "[0,8]")), "\"I65\""},
      {"half a byte", one(entry(R"("F4")", "[1]", "[0,1]")), "overflows"},
      {"integers too few", one(entry(R"("I64")", "[1]", "[0,4]")), "where I64 of shape [1] take 8"},
      {"dtype in lower case", one(entry(R"("f32")", "[2]", "[0,8]")), "\"f32\""},
      {"shape a number", one(entry(f32, "2", "[0,8]")), "shape of tensor 'a' is no array"},
      {"size negative", one(entry(f32, "[-2]", "[0,8]")), "-2, which is no size"},
      {"sizes both negative", one(entry(f32, "[-1,-2]", "[0,8]")), "-1, which is no size"},
      {"size fractional", one(entry(f32, "[2.0]", "[0,8]")), "2.0, which is no size"},
      {"size a string", one(entry(f32, R"(["2"])", "[0,8]")), "which is no size"},
      {"size an object", one(entry(f32, "[{}]", "[0,8]")), "which is no size"},
      {"size 2^63", one(entry(f32, "[9223372036854775808]", "[0,8]")), "which is no size"},
      {"size past 2^64", one(entry(f32, "[36893488147419103232]", "[0,8]")), "which is no size"},
      {"product overflows", one(entry(f32, "[4294967296,4294967296]", "[0,8]")), "overflows"},
      {"product overflows to 2",
       one(entry(f32, "[9223372036854775807,9223372036854775806]", "[0,8]")), "overflows"},
      {"bytes overflow to 8", one(entry(f32, "[4611686018427387906]", "[0,8]")), "overflows"},
      {"offsets one", one(entry(f32, "[2]", "[0]")), "no pair of positions"},
      {"offsets three", one(entry(f32, "[2]", "[0,8,12]")), "no pair of positions"},
      {"offsets an object", one(entry(f32, "[2]", R"({"0":0,"1":8})")), "no pair of positions"},
      {"offset negative", one(entry(f32, "[2]", "[-8,0]")), "no pair of positions"},
      {"offset fractional", one(entry(f32, "[2]", "[0,8.0]")), "no pair of positions"},
      {"offset past 2^64", one(entry(f32, "[2]", "[0,36893488147419103232]")),
       "no pair of positions"},
      {"offsets reversed", one(entry(f32, "[2]", "[8,0]")), "are reversed"},
      {"offset past the end", one(entry(f32, "[4]", "[0,16]")), "past its end at 12"},
      {"offset 2^64 - 1", one(entry(f32, "[2]", "[0,18446744073709551615]")), "past its end at 12"},
      {"too few bytes for the shape", one(entry(f32, "[3]", "[0,8]")), "holds 8 bytes"},
      {"too many bytes for the shape", one(entry(f32, "[1]", "[0,8]")), "holds 8 bytes"},
      {"bytes of another dtype", one(entry(R"("F16")", "[2]", "[0,8]")), "holds 8 bytes"},
      {"bytes of an empty tensor", one(entry(f32, "[0]", "[0,8]")), "holds 8 bytes"},
      {"overlap", one(entry(f32, "[3]", "[0,12]")), "overlap"},
      {"same place twice", one(entry(f32, "[1]", "[8,12]")), "belong to no tensor"},
      {"gap before the first", one(entry(f32, "[1]", "[4,8]")), "belong to no tensor"},
      {"gap in the middle", one(entry(f32, "[1]", "[0,4]")), "belong to no tensor"},
      {"data left over", with_header("{\"a\":" + a + "," + b + "}", 13), "1 bytes are left over"},
      {"data and no tensor", with_header("{}", 4), "4 bytes are left over"},
      {"data cut short", with_header("{\"a\":" + a + "," + b + "}", 11), "past its end at 11"},
      {"name with an escape sequence", with_header("{\"\\u001b[31m\":" + a + "," + b + "}", 12),
       "control characters"},
      {"name of 2000 letters",
       with_header("{\"" + std::string(2000, 'n') + "\":" + a + "," + b + "}", 12), "2000 bytes"},
      {"zip", std::string("PK\x03\x04", 4) + std::string(100, '\0'), "torch.load"},
      {"pickle, protocol 2", "\x80\x02" + std::string(100, '\0'), "torch.load"},
      {"pickle, protocol 4", "\x80\x04" + std::string(100, '\0'), "torch.load"},
      {"git-lfs pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
       "git lfs pull"},
      {"HTML", "<!DOCTYPE html><html><body>404</body></html>", "more than the 100000000"},
  };
}

}  // namespace mnm::test
