// swift-tools-version: 6.0
// The engine's sources as ordinary Swift, so that tests can look inside.
// The library that C programs link is built by CMakeLists.txt (Embedded Swift, one object file).

import PackageDescription

let package = Package(
    name: "libpager",
    targets: [
        .target(name: "CPlatform", path: "Sources/CPlatform"),
        .target(name: "Pager", dependencies: ["CPlatform"], path: "Sources/Pager"),
        .testTarget(name: "PagemapTests", dependencies: ["Pager", "CPlatform"], path: "Tests/PagemapTests"),
        .testTarget(name: "ProtocolTests", dependencies: ["Pager", "CPlatform"], path: "Tests/ProtocolTests"),
    ],
    swiftLanguageModes: [.v5]
)
