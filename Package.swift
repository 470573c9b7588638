// swift-tools-version: 6.0
// The engine's sources as ordinary Swift, so that tests can look inside: `swift test`.
// The library that C programs link is built by CMakeLists.txt (Embedded Swift, one object file).
// Needs Debian's gnumach-dev (Mach's headers).

import PackageDescription

let headers = ["include", "include/hostmach"]
let importerPaths: [SwiftSetting] = [
    .unsafeFlags(headers.flatMap { ["-Xcc", "-I\(Context.packageDirectory)/\($0)"] } + ["-Xcc", "-D_GNU_SOURCE"])
]
let includePaths: [CSetting] = headers.map { .headerSearchPath("../../\($0)") } + [.define("_GNU_SOURCE")]

let package = Package(
    name: "libpager",
    targets: [
        // hooks.c, libports.c, send.c and server.c are the C library's: they need MIG's output, libports, or define what a translator does.
        .target(name: "CPlatform", path: "Sources/CPlatform", exclude: ["freestanding", "hooks.c", "libports.c", "send.c", "server.c", "mig"],
                cSettings: includePaths),
        .target(name: "Pager", dependencies: ["CPlatform"], path: "Sources/Pager",
                exclude: ["CMakeLists.txt", "exports.txt"], swiftSettings: importerPaths),
        // What the engine calls and these tests do not: Mach, libports, a translator.
        .target(name: "Strangers", dependencies: ["CPlatform"], path: "Tests/Strangers", cSettings: includePaths),
        .testTarget(name: "PagemapTests", dependencies: ["Pager", "CPlatform", "Strangers"],
                    path: "Tests/PagemapTests", swiftSettings: importerPaths),
        .testTarget(name: "ServiceTests", dependencies: ["Pager", "CPlatform", "Strangers"],
                    path: "Tests/ServiceTests", swiftSettings: importerPaths),
        .testTarget(name: "ProtocolTests", dependencies: ["Pager", "CPlatform", "Strangers"],
                    path: "Tests/ProtocolTests", exclude: ["README.md"], swiftSettings: importerPaths),
    ],
    swiftLanguageModes: [.v5]
)
