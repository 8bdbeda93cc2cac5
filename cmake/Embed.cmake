# mnm_embed(TARGET FILE SYMBOL): the text of FILE becomes a constant in TARGET,
#   namespace mnm { extern const std::string_view SYMBOL; }
# which whoever reads it declares. CMake runs again when FILE changes.
function(mnm_embed target file symbol)
  get_filename_component(path ${file} ABSOLUTE)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${path})
  file(READ ${path} text)
  string(FIND "${text}" ")mnm_embed\"" delimiter)
  if(NOT delimiter EQUAL -1)
    message(FATAL_ERROR "${path} holds the delimiter of the literal that would hold it")
  endif()
  set(source ${CMAKE_CURRENT_BINARY_DIR}/embedded_${symbol}.cpp)
  string(CONCAT code "#include <string_view>\n\nnamespace mnm {\n"
                "extern const std::string_view ${symbol};\n"
                "const std::string_view ${symbol} = R\"mnm_embed(${text})mnm_embed\";\n"
                "}  // namespace mnm\n")
  # Written only when it differs, so that configuring again compiles nothing; and not by
  # configure_file or file(GENERATE), which would expand what looks like a variable in the text.
  set(before "")
  if(EXISTS ${source})
    file(READ ${source} before)
  endif()
  if(NOT before STREQUAL code)
    file(WRITE ${source} "${code}")
  endif()
  target_sources(${target} PRIVATE ${source})
endfunction()
