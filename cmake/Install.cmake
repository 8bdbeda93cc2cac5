# `cmake --install`: the program, the library with its headers, the engines beside it, and what
# find_package(mixnmatch) reads. CPack makes a tarball of it that runs beside LibTorch alone.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# A shared object that is opened when it is needed. It is found beside libmixnmatch, and by
# MNM_ENGINE_DIR; the version is in its name for the loader and in its code for open_plugin.
# LibTorch is found where it was at the build, or as a directory libtorch beside the installed tree.
# The CUDA engine is a component of its own, which the CPU tarball leaves out.
function(mnm_install_plugin target)
  set_target_properties(${target} PROPERTIES SOVERSION ${PROJECT_VERSION} INSTALL_RPATH
    "$ORIGIN;$ORIGIN/mixnmatch;$ORIGIN/../../libtorch/lib;${MNM_LIBTORCH_RPATH}")
  set(component Unspecified)
  if(target MATCHES "cuda")
    set(component cuda)
  endif()
  install(TARGETS ${target} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT ${component}
          NAMELINK_COMPONENT ${component})
endfunction()

get_filename_component(MNM_LIBTORCH_RPATH "${LibTorch_CPU}" DIRECTORY)

# One shared library of all rooms but the command line, and what installs it.
function(mnm_install_library)
  set(rooms base model kernels heuristics search db dataset extract image text export onnx eval families train
      engine generate cluster study report artifact neurons serve serve_bodies)
  set(archives)
  foreach(room ${rooms})
    list(APPEND archives $<TARGET_FILE:mnm_${room}>)
  endforeach()
  file(WRITE ${CMAKE_BINARY_DIR}/mixnmatch_library.cpp "// All code is in the rooms' archives.\n")
  add_library(mixnmatch_library SHARED ${CMAKE_BINARY_DIR}/mixnmatch_library.cpp)
  add_library(mixnmatch::mixnmatch ALIAS mixnmatch_library)
  set_target_properties(mixnmatch_library PROPERTIES
    OUTPUT_NAME mixnmatch EXPORT_NAME mixnmatch VERSION ${PROJECT_VERSION}
    SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR} INSTALL_RPATH "$ORIGIN;$ORIGIN/mixnmatch")
  # Whole: nothing in here calls them, those who link it do.
  target_link_options(mixnmatch_library PRIVATE LINKER:--whole-archive ${archives}
                      LINKER:--no-whole-archive LINKER:-z,defs)
  target_link_libraries(mixnmatch_library PRIVATE fmt::fmt SQLite::SQLite3 onnx onnx_proto
                        protobuf::libprotobuf JPEG::JPEG PNG::PNG
                        ZLIB::ZLIB Threads::Threads ${CMAKE_DL_LIBS})
  target_compile_features(mixnmatch_library INTERFACE cxx_std_20)
  target_include_directories(mixnmatch_library INTERFACE
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/mixnmatch>)
  target_link_libraries(mixnmatch_library INTERFACE fmt::fmt nlohmann_json::nlohmann_json)
  list(TRANSFORM rooms PREPEND mnm_)
  add_dependencies(mixnmatch_library ${rooms} mnm_engine_cpu)
  set_property(TARGET mixnmatch_library PROPERTY LINK_DEPENDS ${archives})

  set_target_properties(mixnmatch PROPERTIES INSTALL_RPATH
    "$ORIGIN/../${CMAKE_INSTALL_LIBDIR};$ORIGIN/../${CMAKE_INSTALL_LIBDIR}/mixnmatch")
  install(TARGETS mixnmatch RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(TARGETS mixnmatch_library EXPORT mixnmatch LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  # Public is what neither names a type of Torch, SQLite or Boost nor includes what does: fold/,
  # kernels/, the folds of families, the inside of the store and the server's network are not.
  foreach(room base model heuristics search db dataset extract image text export eval families train engine
               generate cluster study report artifact neurons serve)
    file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}
         ${PROJECT_SOURCE_DIR}/${room}/*.h ${PROJECT_SOURCE_DIR}/${room}/*.inc)
    foreach(header ${headers})
      file(STRINGS ${header} private
           REGEX "^#include [<\"](ATen/|c10/|sqlite3|boost/|fold/|kernels/|db/sqlite|db/store_impl|serve/(routes|awaitable|exchange|mailbox)\\.h)")
      if(NOT private)
        get_filename_component(directory ${header} DIRECTORY)
        install(FILES ${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/mixnmatch/${directory})
      endif()
    endforeach()
  endforeach()
  set(package ${CMAKE_INSTALL_LIBDIR}/cmake/mixnmatch)
  install(EXPORT mixnmatch NAMESPACE mixnmatch:: DESTINATION ${package} FILE mixnmatchTargets.cmake)
  file(WRITE ${CMAKE_BINARY_DIR}/mixnmatchConfig.cmake
       "include(CMakeFindDependencyMacro)\nfind_dependency(fmt)\nfind_dependency(nlohmann_json)\n"
       "include(\${CMAKE_CURRENT_LIST_DIR}/mixnmatchTargets.cmake)\n")
  write_basic_package_version_file(${CMAKE_BINARY_DIR}/mixnmatchConfigVersion.cmake
                                   COMPATIBILITY SameMinorVersion)
  install(FILES ${CMAKE_BINARY_DIR}/mixnmatchConfig.cmake
                ${CMAKE_BINARY_DIR}/mixnmatchConfigVersion.cmake DESTINATION ${package})
  install(FILES README.md LICENSE CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
  mnm_package()
endfunction()

# The tarball of the CPU engine: `cpack --config build/release/CPackConfig.cmake -B build/pack`. It
# brings Boost, SQLite, fmt, protobuf, ONNX and the image libraries; LibTorch and MPI are the user's own, the C and C++
# libraries the system's.
function(mnm_package)
  install(CODE "
    file(GET_RUNTIME_DEPENDENCIES
      EXECUTABLES \"$<TARGET_FILE:mixnmatch>\"
      LIBRARIES \"$<TARGET_FILE:mixnmatch_library>\" \"$<TARGET_FILE:mnm_engine_cpu>\"
      RESOLVED_DEPENDENCIES_VAR resolved UNRESOLVED_DEPENDENCIES_VAR unresolved
      PRE_EXCLUDE_REGEXES \"^lib(torch|c10|cud|nv|cublas|cupti|mnm_|mixnmatch)\"
                          \"^lib(c|m|dl|rt|pthread|gcc_s|stdc\\\\+\\\\+)\\\\.so\" \"^ld-\"
      POST_EXCLUDE_REGEXES \"/(torch|nvidia)/\")
    foreach(file IN LISTS resolved)
      file(INSTALL \"\${file}\" TYPE SHARED_LIBRARY FOLLOW_SYMLINK_CHAIN
           DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/mixnmatch\")
    endforeach()
  " COMPONENT bundle EXCLUDE_FROM_ALL)
  set(CPACK_GENERATOR TXZ)
  set(CPACK_PACKAGE_NAME mixnmatch)
  set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
  set(CPACK_PACKAGE_FILE_NAME mixnmatch-${PROJECT_VERSION}-linux-x86_64-cpu)
  set(CPACK_STRIP_FILES ON)
  set(CPACK_THREADS 0)
  # In one archive with one directory at its top, whatever the components.
  set(CPACK_COMPONENTS_ALL Unspecified bundle)
  set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
  set(CPACK_ARCHIVE_COMPONENT_INSTALL ON)
  set(CPACK_COMPONENT_INCLUDE_TOPLEVEL_DIRECTORY ON)
  set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
  include(CPack)
endfunction()
