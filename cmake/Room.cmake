# mnm_room(NAME SOURCES a.cpp b.cpp DEPS mnm_model ...): one folder, one static library mnm_NAME,
# with this project's warnings. Third-party headers come in as SYSTEM.
set(MNM_WARNINGS -Wall -Wextra -Wshadow -Wconversion -Werror)

function(mnm_options target)
  target_compile_options(${target} PRIVATE ${MNM_WARNINGS})
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR})
  if(MNM_SANITIZE)
    # Sanitized code misleads GCC's flow analysis, in the standard library's own headers too.
    target_compile_options(${target} PRIVATE -fsanitize=address,undefined -fno-omit-frame-pointer
                                             -Wno-maybe-uninitialized)
    target_link_options(${target} PUBLIC -fsanitize=address,undefined)
  endif()
  if(MNM_FUZZ)
    # Clang warns of other things than g++, which the ordinary build asks.
    target_compile_options(${target} PRIVATE -Wno-error -fno-omit-frame-pointer
                           -fsanitize=fuzzer-no-link,address,undefined
                           -fno-sanitize-recover=undefined)
    target_link_options(${target} PUBLIC -fsanitize=address,undefined)
  endif()
endfunction()

function(mnm_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;DEPS" ${ARGN})
  add_library(mnm_${name} STATIC ${ROOM_SOURCES})
  mnm_options(mnm_${name})
  target_link_libraries(mnm_${name} PUBLIC ${ROOM_DEPS})
endfunction()

# mnm_precompiled_torch(NAME [EXECUTABLES] [OPTIONS -O1 ...]): precompiled headers of LibTorch, which
# libraries (EXECUTABLES: programs) of these options use with mnm_precompile_torch(TARGET NAME). Both
# do nothing unless MNM_PRECOMPILE is on.
function(mnm_precompiled_torch name)
  if(NOT MNM_PRECOMPILE)
    return()
  endif()
  cmake_parse_arguments(OF "EXECUTABLES" "" "OPTIONS" ${ARGN})
  set(stub ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp)
  file(CONFIGURE OUTPUT ${stub} CONTENT "int main() { return 0; }\n")  # if it differs
  if(OF_EXECUTABLES)  # whose code is compiled otherwise than a library's
    add_executable(${name} EXCLUDE_FROM_ALL ${stub})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
  else()
    add_library(${name} OBJECT EXCLUDE_FROM_ALL ${stub})
  endif()
  mnm_options(${name})
  target_compile_options(${name} PRIVATE ${OF_OPTIONS} -fpch-preprocess)
  target_link_libraries(${name} PRIVATE LibTorch::cpu)
  target_precompile_headers(${name} PRIVATE <ATen/ATen.h>)
endfunction()

# After mnm_options. g++ takes what is precompiled for the project's own code. So it warns of the
# standard library's, and warnings are no errors here. Builds without the option make them errors.
function(mnm_precompile_torch target name)
  if(MNM_PRECOMPILE)
    target_precompile_headers(${target} REUSE_FROM ${name})
    target_compile_options(${target} PRIVATE -Wno-error -fpch-preprocess)  # the latter for ccache
  endif()
endfunction()
