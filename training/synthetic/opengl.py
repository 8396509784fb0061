"""Program: draws triangles with OpenGL on EGL for the process that started it.

It is started by `render.Renderer`, and it never imports TensorFlow: that library brings an LLVM
of its own, and Mesa's software renderer crashes when both are in one process. Requests and
replies pass through a connection whose file number is the only argument.

The camera frame is x right, y down, z forward, in mm. Pixel centres are integers, whereas
OpenGL's are at half integers: pixel u has its centre at u + 1/2 in window coordinates.
"""

from multiprocessing import connection as connection_lib
import signal
import sys

import numpy as np

MAX_SIDE_PX = 320
_N_SAMPLES = 4
_NEAR_MM, _FAR_MM = 60.0, 60000.0
_VERTEX_SHADER = """
#version 330
uniform vec4 projection_x;
uniform vec4 projection_y;
uniform vec2 projection_z;
in vec3 in_position;
in vec3 in_normal;
in vec4 in_surface;
out vec3 position;
out vec3 normal;
out vec4 surface;
void main() {
    position = in_position;
    normal = in_normal;
    surface = in_surface;
    gl_Position = vec4(
        dot(projection_x.xyz, in_position), dot(projection_y.xyz, in_position),
        projection_z.x * in_position.z + projection_z.y, in_position.z);
}
"""
_FRAGMENT_SHADER = """
#version 330
uniform sampler2DArray textures;
uniform vec3 light_directions[3];
uniform vec3 light_colors[3];
uniform vec3 up;
uniform vec3 ambient_above;
uniform vec3 ambient_below;
uniform float specular;
in vec3 position;
in vec3 normal;
in vec4 surface;
out vec4 color;
void main() {
    if (surface.w < 0.0) discard;
    vec4 albedo = texture(textures, surface.xyz);
    if (albedo.a < 0.4) discard;
    vec3 n = normalize(normal);
    vec3 to_camera = -normalize(position);
    if (dot(n, to_camera) < 0.0) n = -n;
    vec3 light = mix(ambient_below, ambient_above, 0.5 + 0.5 * dot(n, up));
    vec3 shine = vec3(0.0);
    for (int i = 0; i < 3; ++i) {
        light += light_colors[i] * max(dot(n, light_directions[i]), 0.0);
        vec3 halfway = normalize(light_directions[i] + to_camera);
        shine += light_colors[i] * pow(max(dot(n, halfway), 0.0), 24.0);
    }
    color = vec4(min(albedo.rgb * light + specular * shine, 1.0), 1.0);
}
"""


def main():
    """Answers requests, pairs of a method's name and arguments, until the other end is closed.

    The first reply tells whether there is a context. Each reply is a pair: whether all went
    well, and the result or an error message.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the other end's to handle
    with connection_lib.Connection(int(sys.argv[1])) as connection:
        try:
            canvas = Canvas()
        except Exception as error:  # moderngl raises bare Exception for a missing driver
            connection.send((False, str(error)))
            return
        connection.send((True, None))
        while True:
            try:
                name, args = connection.recv()
            except (EOFError, OSError):
                return
            try:
                reply = True, {'load': canvas.load, 'draw': canvas.draw}[name](*args)
            except Exception as error:  # reported where the request came from
                reply = False, f'{type(error).__name__}: {error}'
            connection.send(reply)


class Canvas:
    """An offscreen OpenGL context; one surface is loaded at a time."""

    def __init__(self):
        import moderngl
        self._context = context = moderngl.create_standalone_context(backend='egl')
        size = (MAX_SIDE_PX, MAX_SIDE_PX)
        self._flags = moderngl.DEPTH_TEST
        self._program = context.program(
            vertex_shader=_VERTEX_SHADER, fragment_shader=_FRAGMENT_SHADER)
        self._multisampled = context.framebuffer(
            [context.renderbuffer(size, samples=_N_SAMPLES)],
            context.depth_renderbuffer(size, samples=_N_SAMPLES))
        self._depth_texture = context.depth_texture(size)
        self._resolved = context.framebuffer([context.renderbuffer(size)], self._depth_texture)
        self._resources = []

    def load(self, surface, triangles, textures):
        """Uploads what no pose changes, in place of what was loaded before.

        Args:
            surface: float32 array `[vertices, 4]`: texture coordinates, layer, cut.
            triangles: int32 array `[triangles, 3]`.
            textures: uint8 array `[layers, height, width, 4]`.
        """
        for resource in self._resources:
            resource.release()
        context = self._context
        self._textures = context.texture_array(
            (*textures.shape[2:0:-1], len(textures)), 4, np.ascontiguousarray(textures).tobytes())
        self._textures.build_mipmaps()
        surface_buffer = context.buffer(surface.tobytes())
        self._posed_buffer = context.buffer(reserve=len(surface) * 24, dynamic=True)
        index_buffer = context.buffer(triangles.tobytes())
        self._vertex_array = context.vertex_array(
            self._program, [
                (self._posed_buffer, '3f 3f', 'in_position', 'in_normal'),
                (surface_buffer, '4f', 'in_surface')], index_buffer)
        self._resources = [
            self._textures, surface_buffer, self._posed_buffer, index_buffer, self._vertex_array]

    def draw(self, vertices, intrinsics, image_size, lighting):
        """Draws the loaded surface.

        Args:
            vertices: float32 array `[vertices, 6]`: position (mm) and normal, camera frame.
            intrinsics: float array `[3, 3]`, px, without skew.
            image_size: (width, height), at most `MAX_SIDE_PX` each.
            lighting: Dict with the fields of `render.Lighting`.

        Returns:
            Tuple of uint8 array `[height, width, 4]`, RGB multiplied by coverage, and coverage;
            and the depth (z) in mm, float32 `[height, width]`, inf where there is no surface.
        """
        width, height = image_size
        self._posed_buffer.write(vertices.tobytes())
        self._set_uniforms(intrinsics, image_size, lighting)
        viewport = (0, 0, width, height)
        self._multisampled.use()
        self._multisampled.viewport = viewport
        self._context.enable_only(self._flags)
        self._context.clear(0.0, 0.0, 0.0, 0.0, depth=1.0)
        self._textures.use(0)
        self._vertex_array.render()
        self._context.copy_framebuffer(self._resolved, self._multisampled)
        rgba = np.frombuffer(
            self._resolved.read(viewport=viewport, components=4), np.uint8)
        depth = np.frombuffer(self._depth_texture.read(), np.float32)
        depth = depth.reshape(MAX_SIDE_PX, MAX_SIDE_PX)[:height, :width]
        return rgba.reshape(height, width, 4), _linear_depth(depth)

    def _set_uniforms(self, intrinsics, image_size, lighting):
        """Projection and lights. Image row 0 is OpenGL's row 0: nothing is flipped on reading."""
        program = self._program
        for i, name in enumerate(('projection_x', 'projection_y')):
            side, focal, principal = image_size[i], intrinsics[i, i], intrinsics[i, 2]
            row = [0.0, 0.0, 2 * (principal + 0.5) / side - 1, 0.0]
            row[i] = 2 * focal / side
            program[name].value = tuple(map(float, row))
        program['projection_z'].value = (
            (_FAR_MM + _NEAR_MM) / (_FAR_MM - _NEAR_MM),
            -2 * _FAR_MM * _NEAR_MM / (_FAR_MM - _NEAR_MM))
        program['light_directions'].write(lighting['directions'].astype(np.float32).tobytes())
        program['light_colors'].write(lighting['colors'].astype(np.float32).tobytes())
        for name in ('up', 'ambient_above', 'ambient_below'):
            program[name].value = tuple(map(float, lighting[name]))
        program['specular'].value = float(lighting['specular'])


def _linear_depth(depth):
    """Depth in mm from OpenGL's depth buffer values in [0, 1]."""
    scaled = 2 * depth.astype(np.float64) - 1
    linear = 2 * _FAR_MM * _NEAR_MM / (_FAR_MM + _NEAR_MM - scaled * (_FAR_MM - _NEAR_MM))
    return np.where(depth >= 1, np.inf, linear).astype(np.float32)


if __name__ == '__main__':
    main()
