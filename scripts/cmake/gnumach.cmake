# CMake's settings for a program that GNU Mach boots (i386, static, no operating system): the Swift toolchain's clang and lld, and the i386
# packages gnumach-dev, mig-i686-gnu, musl-dev and gcc's library for i686.
#
#   cmake -B build-gnumach -DCMAKE_TOOLCHAIN_FILE=$PWD/scripts/cmake/gnumach.cmake

set(LIBPAGER_GNUMACH ON)
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR i686)

find_program(SWIFTC swiftc REQUIRED)
file(REAL_PATH "${SWIFTC}" swiftc_path)
cmake_path(GET swiftc_path PARENT_PATH swift_bin)
set(CMAKE_C_COMPILER "${swift_bin}/clang")
set(CMAKE_C_COMPILER_TARGET i686-linux-musl)
set(CMAKE_ASM_COMPILER "${swift_bin}/clang")
set(CMAKE_ASM_COMPILER_TARGET i686-linux-musl)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)

find_program(MIG_EXECUTABLE i686-gnu-mig REQUIRED DOC "Debian: mig-i686-gnu:i386")
find_path(MACH_INCLUDE_DIR mach/mach.defs PATHS /usr/include/i386-linux-gnu NO_DEFAULT_PATH REQUIRED DOC "Debian: gnumach-dev:i386")
find_path(MUSL_INCLUDE_DIR pthread.h PATHS /usr/include/i386-linux-musl NO_DEFAULT_PATH REQUIRED DOC "Debian: musl-dev:i386")
find_file(MUSL_LIBRARY libc.a PATHS /usr/lib/i386-linux-musl NO_DEFAULT_PATH REQUIRED DOC "Debian: musl-dev:i386")
# What clang calls for 64-bit division.
find_program(GCC_I686 i686-linux-gnu-gcc REQUIRED DOC "Debian: gcc-i686-linux-gnu")
execute_process(COMMAND "${GCC_I686}" -print-libgcc-file-name OUTPUT_VARIABLE LIBGCC OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)

# The stack protector wants a word that musl's start-up makes; frame pointers for reports of faults.
set(CMAKE_C_FLAGS_INIT "-fno-pic -fno-stack-protector -fno-omit-frame-pointer -ffunction-sections -fdata-sections -march=i686 -isystem ${MUSL_INCLUDE_DIR}")
set(CMAKE_ASM_FLAGS_INIT "-I${MACH_INCLUDE_DIR}")
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-fuse-ld=lld -nostdlib -nostartfiles -static -Wl,--gc-sections")
