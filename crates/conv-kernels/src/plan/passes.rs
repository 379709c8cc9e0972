//! The passes of a plan, as callers see them: every length is checked, and the work handed on.

use super::{Conv2dPlan, Epilogue, Gradients, Pass, Weights};
use crate::conv::bias_gradient;
use crate::{KernelError, Scalar, Scratch};

impl<T: Scalar> Conv2dPlan<T> {
    /// `y = σ(x ⋆ weight + bias)`: slides each overlay over its underlay.
    ///
    /// `x (N, C, H, W)`, `y (N, O, OH, OW)`; `y` is overwritten. The article's section "Feature Map Activation".
    ///
    /// # Errors
    ///
    /// [`KernelError::Length`] if a slice does not fit the shape and the batch.
    ///
    /// ```
    /// use conv_kernels::{Activation, Conv2dPlan, Conv2dShape, Epilogue, Options};
    /// let shape = Conv2dShape::builder(1, 2, [1, 3], [1, 2]).build()?;
    /// let plan = Conv2dPlan::<f32>::new(shape, &Options::default())?;
    /// let epilogue = Epilogue { bias: Some(&[0.5, -4.0]), activation: Activation::Relu };
    /// let mut y = [0.0; 4];
    /// plan.forward(1, &[1., 2., 3.], &[1., 1., 0., 1.], epilogue, &mut y, &mut plan.scratch(1))?;
    /// assert_eq!(y, [3.5, 5.5, 0.0, 0.0]);
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    pub fn forward<'w>(
        &self,
        batch: usize,
        x: &[T],
        weight: impl Into<Weights<'w, T>>,
        epilogue: Epilogue<'_, T>,
        y: &mut [T],
        scratch: &mut Scratch<T>,
    ) -> Result<(), KernelError> {
        let weights = weight.into();
        self.expect_sources(batch, x, weights, epilogue)?;
        self.shape.expect_output("y", batch, y.len())?;
        T::convolution(self, batch, Pass::Forward { x, weights, epilogue, y }, scratch);
        Ok(())
    }

    /// [`Conv2dPlan::forward`] and [`max_pool2d`](crate::max_pool2d) with windows of 2x2 pixels, side by side, in one
    /// pass: the largest of each four pixels of `σ(x ⋆ weight + bias)`, and where it is.
    ///
    /// `x (N, C, H, W)`, `y` and `positions (N, O, OH / 2, OW / 2)`; both are overwritten. A position is the row-major
    /// index of the maximum in its `OH·OW` feature map, as [`max_pool2d_backward`](crate::max_pool2d_backward) wants
    /// it. An odd last row or column belongs to no window. Bits and positions are those of the two calls, but algorithms
    /// that work straight on images do not write the feature maps to memory: a few rows of a few channels are pooled while
    /// they are in the cache. The article's section "Max Pooling".
    ///
    /// # Errors
    ///
    /// - [`KernelError::Length`] if a slice does not fit the shape and the batch;
    /// - [`KernelError::WindowTooLarge`] if a feature map has less than 2x2 pixels;
    /// - [`KernelError::PlaneTooLarge`] if it has more than 2³².
    ///
    /// ```
    /// use conv_kernels::{Conv2dPlan, Conv2dShape, Epilogue, Options};
    /// let shape = Conv2dShape::builder(1, 1, [3, 3], [2, 2]).build()?;
    /// let plan = Conv2dPlan::<f64>::new(shape, &Options::default())?;
    /// let x = [1., 2., 3., 4., 5., 6., 7., 8., 9.];
    /// let (weight, bare) = ([10., 20., 30., 40.], Epilogue::none());
    /// // The feature map is 370, 470, 670, 770.
    /// let (mut y, mut positions) = ([0.0], [0]);
    /// plan.forward_max_pooled(1, &x, &weight, bare, &mut y, &mut positions, &mut plan.scratch(1))?;
    /// assert_eq!((y, positions), ([770.0], [3]));
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    #[expect(clippy::too_many_arguments, reason = "those of `forward`, and the positions")]
    pub fn forward_max_pooled<'w>(
        &self,
        batch: usize,
        x: &[T],
        weight: impl Into<Weights<'w, T>>,
        epilogue: Epilogue<'_, T>,
        y: &mut [T],
        positions: &mut [u32],
        scratch: &mut Scratch<T>,
    ) -> Result<(), KernelError> {
        let pool = &self.max_pool()?;
        let weights = weight.into();
        self.expect_sources(batch, x, weights, epilogue)?;
        pool.expect_output("y", batch, y.len())?;
        pool.expect_output("positions", batch, positions.len())?;
        T::convolution(self, batch, Pass::ForwardMaxPooled { x, weights, epilogue, pool, y, positions }, scratch);
        Ok(())
    }

    /// The way back through [`Conv2dPlan::forward_max_pooled`]: [`max_pool2d_backward`](crate::max_pool2d_backward), and then
    /// the gradients of input, weights and biases, as far as they are wanted.
    ///
    /// `x (N, C, H, W)`, `dy` and `positions (N, O, OH / 2, OW / 2)`; `dy` is the gradient by the winners' bare sums (before
    /// σ). `dx` and `dweight` have the bits of the single calls, but the gradients of whole feature maps are not written to
    /// memory by [`Algorithm::Images`](crate::Algorithm::Images); `dbias` adds up the winners alone, in another order.
    ///
    /// # Errors
    ///
    /// - [`KernelError::Length`] if a slice does not fit the shape and the batch;
    /// - [`KernelError::Position`] if a position lies outside its feature map;
    /// - [`KernelError::WindowTooLarge`] and [`KernelError::PlaneTooLarge`] as in the forward pass.
    ///
    /// ```
    /// use conv_kernels::{Conv2dPlan, Conv2dShape, Gradients, Options};
    /// let shape = Conv2dShape::builder(1, 1, [3, 3], [2, 2]).build()?;
    /// let plan = Conv2dPlan::<f64>::new(shape, &Options::default())?;
    /// let (x, weight) = ([1., 2., 3., 4., 5., 6., 7., 8., 9.], [10., 20., 30., 40.]);
    /// let (mut dx, mut dweight, mut dbias) = ([0.0; 9], [0.0; 4], [0.0]);
    /// let to = Gradients { dx: Some(&mut dx), dweight: &mut dweight, dbias: Some(&mut dbias) };
    /// // The last of the four pixels of the feature map was the largest.
    /// plan.backward_max_pooled(1, &x, &weight, &[0.5], &[3], to, &mut plan.scratch(1))?;
    /// assert_eq!((dweight, dbias), ([2.5, 3.0, 4.0, 4.5], [0.5]));
    /// assert_eq!(dx, [0., 0., 0., 0., 5., 10., 0., 15., 20.]);
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    #[expect(clippy::too_many_arguments, reason = "those of the forward pass, and the gradients")]
    pub fn backward_max_pooled<'w>(
        &self,
        batch: usize,
        x: &[T],
        weight: impl Into<Weights<'w, T>>,
        dy: &[T],
        positions: &[u32],
        to: Gradients<'_, T>,
        scratch: &mut Scratch<T>,
    ) -> Result<(), KernelError> {
        let (pool, Gradients { dx, dweight, dbias }) = (&self.max_pool()?, to);
        self.shape.expect_input("x", batch, x.len())?;
        let weights = weight.into();
        self.expect_weights(1, weights)?;
        pool.expect_output("dy", batch, dy.len())?;
        pool.expect_positions(batch, positions)?;
        dx.as_ref().map_or(Ok(()), |dx| self.shape.expect_input("dx", batch, dx.len()))?;
        self.shape.expect_weight("dweight", dweight.len())?;
        dbias.as_ref().map_or(Ok(()), |dbias| self.shape.expect_bias("dbias", dbias.len()))?;
        if let Some(dbias) = dbias {
            bias_gradient(self.isa, [pool.channels(), pool.out_pixels()], dy, dbias);
        }
        T::convolution(self, batch, Pass::BackwardMaxPooled { x, pool, dy, positions, weights, dx, dweight }, scratch);
        Ok(())
    }

    /// `dx`, the gradient of the cost by the input, from `dy`, that by the bare sums (before σ).
    ///
    /// `dy (N, O, OH, OW)`, `dx (N, C, H, W)`; `dx` is overwritten. For stride 1 this is the article's
    /// `convolve2d(w, d, "full")`.
    ///
    /// # Errors
    ///
    /// [`KernelError::Length`] if a slice does not fit the shape and the batch.
    ///
    /// ```
    /// use conv_kernels::{Conv2dPlan, Conv2dShape, Options};
    /// let shape = Conv2dShape::builder(1, 1, [1, 3], [1, 2]).build()?;
    /// let plan = Conv2dPlan::<f32>::new(shape, &Options::default())?;
    /// let mut dx = [f32::NAN; 3];
    /// plan.input_gradient(1, &[1.0, 10.0], &[2.0, 3.0], &mut dx, &mut plan.scratch(1))?;
    /// assert_eq!(dx, [2.0, 23.0, 30.0]);
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    pub fn input_gradient<'w>(
        &self,
        batch: usize,
        dy: &[T],
        weight: impl Into<Weights<'w, T>>,
        dx: &mut [T],
        scratch: &mut Scratch<T>,
    ) -> Result<(), KernelError> {
        self.shape.expect_output("dy", batch, dy.len())?;
        let weights = weight.into();
        self.expect_weights(1, weights)?;
        self.shape.expect_input("dx", batch, dx.len())?;
        T::convolution(self, batch, Pass::InputGradient { dy, weights, dx }, scratch);
        Ok(())
    }

    /// `dweight += ` the gradient of the cost by the weights, summed over the batch.
    ///
    /// `x (N, C, H, W)`, `dy (N, O, OH, OW)`, `dweight (O, C / groups, KH, KW)`. The sum is complete before it is
    /// added to what `dweight` holds. The article's `correlate2d(a_prev, d, "valid")`.
    ///
    /// # Errors
    ///
    /// [`KernelError::Length`] if a slice does not fit the shape and the batch.
    ///
    /// ```
    /// use conv_kernels::{Conv2dPlan, Conv2dShape, Options};
    /// let shape = Conv2dShape::builder(1, 1, [1, 3], [1, 2]).build()?;
    /// let plan = Conv2dPlan::<f32>::new(shape, &Options::default())?;
    /// let mut dweight = [0.5, 0.5];
    /// plan.weight_gradient(1, &[1., 2., 3.], &[10., 100.], &mut dweight, &mut plan.scratch(1))?;
    /// assert_eq!(dweight, [210.5, 320.5]);
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    pub fn weight_gradient(
        &self,
        batch: usize,
        x: &[T],
        dy: &[T],
        dweight: &mut [T],
        scratch: &mut Scratch<T>,
    ) -> Result<(), KernelError> {
        self.shape.expect_input("x", batch, x.len())?;
        self.shape.expect_output("dy", batch, dy.len())?;
        self.shape.expect_weight("dweight", dweight.len())?;
        T::convolution(self, batch, Pass::WeightGradient { x, dy, dweight }, scratch);
        Ok(())
    }

    /// `dbias += ` the sum of `dy` over each feature map and the batch.
    ///
    /// `dy (N, O, OH, OW)`, `dbias (O,)`. The sum is complete before it is added to what `dbias` holds.
    ///
    /// # Errors
    ///
    /// [`KernelError::Length`] if a slice does not fit the shape and the batch.
    ///
    /// ```
    /// use conv_kernels::{Conv2dPlan, Conv2dShape, Options};
    /// let shape = Conv2dShape::builder(1, 2, [2, 2], [1, 1]).build()?;
    /// let plan = Conv2dPlan::<f32>::new(shape, &Options::default())?;
    /// let mut dbias = [0.0; 2];
    /// plan.bias_gradient(1, &[1., 2., 3., 4., 10., 20., 30., 40.], &mut dbias)?;
    /// assert_eq!(dbias, [10.0, 100.0]);
    /// # Ok::<(), conv_kernels::KernelError>(())
    /// ```
    pub fn bias_gradient(&self, batch: usize, dy: &[T], dbias: &mut [T]) -> Result<(), KernelError> {
        self.shape.expect_output("dy", batch, dy.len())?;
        self.shape.expect_bias("dbias", dbias.len())?;
        bias_gradient(self.isa, [self.shape.out_channels(), self.shape.out_pixels()], dy, dbias);
        Ok(())
    }

    /// Refuses what a forward pass reads, if it does not fit.
    fn expect_sources(
        &self,
        batch: usize,
        x: &[T],
        weights: Weights<'_, T>,
        epilogue: Epilogue<'_, T>,
    ) -> Result<(), KernelError> {
        self.shape.expect_input("x", batch, x.len())?;
        self.expect_weights(0, weights)?;
        epilogue.bias.map_or(Ok(()), |bias| self.shape.expect_bias("bias", bias.len()))
    }
}
