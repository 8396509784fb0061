"""Renders posed people with OpenGL on EGL: colour, coverage and depth.

The camera frame is x right, y down, z forward, in mm. Pixel centres are integers, whereas
OpenGL's are at half integers: pixel u has its centre at u + 1/2 in window coordinates.
"""

import dataclasses

import cv2
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


@dataclasses.dataclass(frozen=True)
class Lighting:
    """Lights in the camera frame.

    Args:
        directions: float32 `[3, 3]`, unit vectors towards each light.
        colors: float32 `[3, 3]`, RGB; zeros switch a light off.
        up: float32 `[3]`, the world's up.
        ambient_above, ambient_below: float32 `[3]`, RGB light from the two hemispheres.
        specular: Strength of highlights.
    """
    directions: np.ndarray
    colors: np.ndarray
    up: np.ndarray
    ambient_above: np.ndarray
    ambient_below: np.ndarray
    specular: float


class Renderer:
    """An offscreen OpenGL context; one person is loaded at a time.

    Raises:
        RuntimeError: If EGL or its drivers are missing; the message says what to install.
    """

    def __init__(self):
        try:
            import moderngl
            self._context = moderngl.create_standalone_context(backend='egl')
        except Exception as error:  # moderngl raises bare Exception for a missing driver
            raise RuntimeError(
                'Rendering needs moderngl and EGL (Debian packages libegl1 and libgl1-mesa-dri). '
                f'The context could not be created: {error}') from error
        context, size = self._context, (MAX_SIDE_PX, MAX_SIDE_PX)
        self._flags = moderngl.DEPTH_TEST
        self._program = context.program(
            vertex_shader=_VERTEX_SHADER, fragment_shader=_FRAGMENT_SHADER)
        self._multisampled = context.framebuffer(
            [context.renderbuffer(size, samples=_N_SAMPLES)],
            context.depth_renderbuffer(size, samples=_N_SAMPLES))
        self._depth_texture = context.depth_texture(size)
        self._resolved = context.framebuffer([context.renderbuffer(size)], self._depth_texture)
        self._person_resources = []

    def load(self, person):
        """Uploads the parts of a `Person` that no pose changes."""
        self.release_person()
        context = self._context
        n_vertices = len(person.positions)
        textures = context.texture_array(
            (*person.textures.shape[2:0:-1], len(person.textures)), 4,
            np.ascontiguousarray(person.textures).tobytes())
        textures.build_mipmaps()
        surface = np.column_stack([person.uvs, person.layers, person.cut]).astype(np.float32)
        surface_buffer = context.buffer(surface.tobytes())
        self._posed_buffer = context.buffer(reserve=n_vertices * 24, dynamic=True)
        index_buffer = context.buffer(person.triangles.astype(np.int32).tobytes())
        self._vertex_array = context.vertex_array(
            self._program, [
                (self._posed_buffer, '3f 3f', 'in_position', 'in_normal'),
                (surface_buffer, '4f', 'in_surface')], index_buffer)
        self._textures = textures
        self._person_resources = [
            textures, surface_buffer, self._posed_buffer, index_buffer, self._vertex_array]

    def release_person(self):
        """Frees the memory of the loaded person."""
        for resource in self._person_resources:
            resource.release()
        self._person_resources = []

    def draw(self, positions, normals, intrinsics, image_size, lighting):
        """Draws the loaded person.

        Args:
            positions: float array `[vertices, 3]`, camera frame, mm.
            normals: float array `[vertices, 3]`, camera frame.
            intrinsics: float array `[3, 3]`, px, without skew.
            image_size: (width, height), at most `MAX_SIDE_PX` each.
            lighting: `Lighting`.

        Returns:
            Tuple of colour uint8 `[height, width, 3]`, continued outwards beyond the person's
            outline; coverage uint8 `[height, width]`, 255 for full; and the depth (z) of the
            nearest surface, float32 `[height, width]`, mm, inf where there is none.

        Raises:
            ValueError: If the image is too large.
        """
        width, height = image_size
        if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX):
            raise ValueError(
                f'`image_size` must be within 1 and {MAX_SIDE_PX} px. Received: {image_size}')
        self._posed_buffer.write(np.hstack([positions, normals]).astype(np.float32).tobytes())
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
        rgba = rgba.reshape(height, width, 4)
        return bleed(rgba), rgba[..., 3].copy(), _linear_depth(depth)

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
        program['light_directions'].write(lighting.directions.astype(np.float32).tobytes())
        program['light_colors'].write(lighting.colors.astype(np.float32).tobytes())
        for name in ('up', 'ambient_above', 'ambient_below'):
            program[name].value = tuple(map(float, getattr(lighting, name)))
        program['specular'].value = float(lighting.specular)


def bleed(rgba):
    """Colour of a picture on black, undone the darkening at the outline and continued outwards.

    Args:
        rgba: uint8 array `[height, width, 4]` whose RGB is multiplied by alpha.

    Returns:
        uint8 array `[height, width, 3]`. Pixels without coverage take over the nearest covered
        pixel's colour, so that JPEG compression and resampling bring no dark seam.
    """
    alpha = rgba[..., 3]
    if not alpha.any():
        return np.zeros_like(rgba[..., :3])
    covered = alpha >= 64
    if not covered.any():
        covered = alpha > 0
    scale = 255 / np.maximum(alpha.astype(np.float32), 1)
    color = np.minimum(rgba[..., :3] * scale[..., np.newaxis] + 0.5, 255).astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(
        (~covered).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    by_label = np.zeros([labels.max() + 1, 3], np.uint8)
    by_label[labels[covered]] = color[covered]
    return by_label[labels]


def _linear_depth(depth):
    """Depth in mm from OpenGL's depth buffer values in [0, 1]."""
    scaled = 2 * depth.astype(np.float64) - 1
    linear = 2 * _FAR_MM * _NEAR_MM / (_FAR_MM + _NEAR_MM - scaled * (_FAR_MM - _NEAR_MM))
    return np.where(depth >= 1, np.inf, linear).astype(np.float32)
