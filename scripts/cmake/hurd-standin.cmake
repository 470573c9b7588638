# CMake's settings for building libpager for the Hurd where there is nothing of the Hurd but Mach's interface files (scripts/check-hurd):
# the Swift toolchain's clang and lld, musl's headers in place of the Hurd's C library, and scripts/hurd/include.
#
#   cmake -B build-hurd -DCMAKE_TOOLCHAIN_FILE=$PWD/scripts/cmake/hurd-standin.cmake -DHURD_CPU=i686|x86_64

set(HURD_CPU i686 CACHE STRING "i686 or x86_64")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES HURD_CPU)
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR ${HURD_CPU})
set(LIBPAGER_PLATFORM hurd CACHE STRING "" FORCE)

find_program(SWIFTC swiftc REQUIRED)
file(REAL_PATH "${SWIFTC}" swiftc_path)
cmake_path(GET swiftc_path PARENT_PATH swift_bin)
set(CMAKE_C_COMPILER "${swift_bin}/clang")
set(CMAKE_C_COMPILER_TARGET ${HURD_CPU}-pc-hurd-gnu)
set(CMAKE_LINKER "${swift_bin}/ld.lld")
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)

if(HURD_CPU STREQUAL "i686")
    set(cpu i386)
    set(PAGER_LINKER_EMULATION -m elf_i386)
else()
    set(cpu ${HURD_CPU})
    set(PAGER_LINKER_EMULATION -m elf_${HURD_CPU})
endif()
find_program(MIG_EXECUTABLE ${HURD_CPU}-gnu-mig REQUIRED)
find_path(MACH_INCLUDE_DIR mach/mach.defs PATHS /usr/include/${cpu}-linux-gnu NO_DEFAULT_PATH REQUIRED DOC "Debian: gnumach-dev")
find_path(MUSL_INCLUDE_DIR pthread.h PATHS /usr/include/${cpu}-linux-musl NO_DEFAULT_PATH REQUIRED DOC "Debian: musl-dev")

set(CMAKE_C_FLAGS_INIT "-fno-stack-protector -nostdlibinc -isystem ${MUSL_INCLUDE_DIR} -idirafter ${MACH_INCLUDE_DIR}")
set(CMAKE_SHARED_LINKER_FLAGS_INIT "-fuse-ld=lld -nostdlib")
# CMake takes a system that it does not know for one without shared libraries.
set(CMAKE_PROJECT_libpager_INCLUDE "${CMAKE_CURRENT_LIST_DIR}/hurd-standin-rules.cmake")
